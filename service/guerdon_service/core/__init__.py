"""Pure core: types, ports, errors and the arithmetic of rewards. Standard library and numpy only."""
