"""How does a secret get into a guest that was appraised, through a host that only relays?"""
