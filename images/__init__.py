"""Which files, in which bytes, signed by whom, measuring to what?"""
