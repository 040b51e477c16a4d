"""What an operator can choose: `choices` has the values, `options` the table of flags, variables and keys, `values` how
each is read, `reading` where from."""
