"""Who says what about an image, in the formats of cosign, DSSE and sigstore?"""
