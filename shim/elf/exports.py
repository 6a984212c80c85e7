"""
What can be found in an object by its name at run time: by dlsym, and by the loader itself?

Such references have no relocation; an analysis has to take them as given.
"""

from __future__ import annotations

from shim.elf.dynsym import STB_LOCAL, STV_HIDDEN, STV_INTERNAL
from shim.elf.linkage import Binding
from shim.elf.loaded import GLIBC, MUSL, Closure, LoadedObject
from shim.elf.lookup import NOT_FOUND, Definition, Lookup, match
from shim.elf.symbols import STT_GNU_IFUNC, STT_TLS
from shim.elf.versions import Version

# What the loaders themselves look up by name, without a relocation: glibc 2.36,
# elf/dl-call-libc-early-init.c, elf/dl-minimal.c, sysdeps/nptl/dl-mutex.c; musl 1.2.5, ldso/dynlink.c.
_LOADER_REFERENCES = {
    GLIBC: (
        ("__libc_early_init", "GLIBC_PRIVATE"),
        ("malloc", "GLIBC_2.2.5"),
        ("calloc", "GLIBC_2.2.5"),
        ("realloc", "GLIBC_2.2.5"),
        ("free", "GLIBC_2.2.5"),
        ("pthread_mutex_lock", "GLIBC_2.2.5"),
        ("pthread_mutex_unlock", "GLIBC_2.2.5"),
    ),
    MUSL: (("__dls2b", ""), ("__dls3", "")),
}


def exported(loaded: LoadedObject) -> dict[str, int]:
    """Return name -> address of what dlsym finds in `loaded`: functions and objects."""
    return _exported(loaded, indirect=False)


def exported_resolvers(loaded: LoadedObject) -> dict[str, int]:
    """Return name -> resolver of the indirect functions that dlsym finds in `loaded`: it calls them."""
    return _exported(loaded, indirect=True)


def loader_references(closure: Closure) -> tuple[Binding, ...]:
    """Return what the loader itself looks up by name and calls, without any relocation."""
    lookup = Lookup(closure)
    found = []
    for name, version in _LOADER_REFERENCES.get(closure.loader, ()):
        wanted = Version(version, "", hidden=False) if version else None
        definition = lookup.find(name.encode(), wanted)
        if definition is None and closure.interpreter is not None and closure.loader == MUSL:
            own = match(closure.objects[closure.interpreter].symbols, name.encode(), None, defined=True)
            definition = None if own == NOT_FOUND else Definition(closure.interpreter, own)
        if definition is not None:
            address = closure.objects[definition.definer].address(definition.symbol)
            found.append(Binding(name, version, definition.definer, address))
    return tuple(found)


def _exported(loaded: LoadedObject, *, indirect: bool) -> dict[str, int]:
    addresses: dict[str, int] = {}
    table = loaded.symbols
    for name in table.first:
        index = match(table, name, None, defined=True, newest=True)
        if index == NOT_FOUND:
            continue
        kind = table.type(index)
        hidden = table.binding(index) == STB_LOCAL or table.visibility(index) in (STV_HIDDEN, STV_INTERNAL)
        if not hidden and kind != STT_TLS and (kind == STT_GNU_IFUNC) == indirect:
            addresses[name.decode("utf-8", "replace")] = loaded.address(index)
    return addresses
