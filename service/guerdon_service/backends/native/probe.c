/* Which set of kernels the library holds; whoever loads it refuses another. */
__attribute__((visibility("default"))) int guerdon_kernels_version(void) { return 1; }
