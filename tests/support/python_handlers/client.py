MINE = __name__ + " of the function"
