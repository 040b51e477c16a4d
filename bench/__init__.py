"""How fast is it, and how much does it hold? Every figure is a ratio to something measured in the same minutes.

A machine's absolute numbers mean little to anybody else, and noise comes and goes. So the service is measured beside
the floor (`floor.py`), the least that any such service must do, in rounds that alternate. `measurements.py` is the
table of what is measured and what is promised; to add a figure, write a function there and a line in the table.

Run as `python -m bench [--quick] [names…]`.
"""
