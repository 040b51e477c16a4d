OTHER = "other "
