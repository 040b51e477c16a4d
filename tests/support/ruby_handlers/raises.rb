raise "at the start"
