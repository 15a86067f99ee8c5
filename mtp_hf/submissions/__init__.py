"""Files for the test servers of DOTA, FAIR1M and LoveDA and COCO results: written and checked."""
