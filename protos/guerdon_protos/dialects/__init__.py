"""Generated code of other servers' protos, as far as Guerdon answers them; regenerate with make protos.

Their packages are other projects' names: import nothing of it beside those projects' own generated code.
"""
