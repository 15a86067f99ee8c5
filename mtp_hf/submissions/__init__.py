"""Files for the test servers of DOTA, FAIR1M and LoveDA: written (writing), checked (checking)."""
