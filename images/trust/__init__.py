"""Is an image one that a policy lets run?"""
