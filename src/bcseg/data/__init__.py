"""Tables that the package ships; ATTRIBUTION.txt beside them says whose they are."""
