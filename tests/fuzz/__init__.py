"""Random bytes for every parser and every port: `make fuzz COUNT=1000000`; a little of it in the suite."""
