"""Guerdon inside other libraries. Each file needs the library it is named after, and none needs another."""
