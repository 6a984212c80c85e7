"""
What does the program open while it runs, and which functions does it look up by name?

Shared objects that nobody needs are mapped by dlopen, and functions are found by dlsym.  A module counts as
opened once reachable code names a string that leads to it; what dlsym is asked for is worked out where it is
called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from shim.analysis.assumptions import DECLARED_MODULES, NO_ENGINES, NO_IDN, NO_MODULES, Assumption
from shim.analysis.questions import Questions
from shim.analysis.reach import Reach
from shim.analysis.roots import add_image, resolvers_of
from shim.elf.openable import NSSWITCH
from shim.elf.process import Module, Process

_FINDERS = ("dlsym", "dlvsym")
_OPENERS = ("dlopen", "dlmopen")
# What libcrypto looks up in the objects that its configuration names: OpenSSL 3.0, include/openssl/engine.h,
# IMPLEMENT_DYNAMIC_BIND_FN, and include/openssl/core.h, OSSL_provider_init_fn.
_ENGINE_ENTRIES = frozenset({"bind_engine", "OSSL_provider_init"})
# What glibc looks up in libidn2, and what of its own asks for it: glibc 2.36, inet/idna.c.
_IDN_ENTRIES = frozenset({"idn2_lookup_ul", "idn2_to_unicode_lzlz"})
_ASKS_FOR_HOSTS = "getaddrinfo"
_LONGEST_NAME = 1024
# glibc 2.36, nss/nss_module.c, nss_function_name_array: libc asks a service for a function by the rest of its
# name.
_SERVICE_FUNCTION = re.compile(r"_nss_[a-z0-9]+_([a-z0-9_]+)")


def _is_engine(module: Module) -> bool:
    return bool(module.exports.keys() & _ENGINE_ENTRIES)


def _paths(modules: Iterable[Module]) -> frozenset[str]:
    return frozenset(image.path for module in modules for image in (module.image, *module.brings))


class Modules:
    """
    Adds what reachable code opens and looks up to the roots of `reach`, step by step.

    Args:
        ask: Makes the questions about values for what has been reached so far.
        assume: The assumptions that may be made; `assumed` has those that were.
    """

    def __init__(
        self, process: Process, reach: Reach, ask: Callable[[], Questions], assume: Collection[Assumption]
    ) -> None:
        self._process = process
        self._reach = reach
        self._ask = ask
        self._assume = assume
        self._seen: set[int] = set()
        self._idle = list(process.modules)
        self._named: set[str] = set()
        self._named_by_libc: set[str] = set()
        self._services: dict[str, list[int]] = {}
        self._unknown: set[int] = set()
        self._opens_computed = False
        self._exports: dict[str, list[int]] = {}
        for exports in process.exports:
            for name, address in exports.items():
                self._exports.setdefault(name, []).append(address)
        self.assumed: set[Assumption] = set()
        self.looks_up_computed = False

    @property
    def idle(self) -> tuple[Module, ...]:
        """The modules that nothing opens."""
        return tuple(self._idle)

    @property
    def unmapped(self) -> frozenset[str]:
        """The paths of what is mapped only together with modules that nothing opens."""
        opened = [module for module in self._process.modules if module not in self._idle]
        return _paths(self._idle) - _paths(opened)

    def add_roots(self) -> bool:
        """Add the roots that were found since the last call; return whether there were any."""
        before = len(self._reach.roots) + len(self._reach.root_objects)
        self._read_strings()
        self._look_up()
        for module in [module for module in self._idle if self._is_opened(module)]:
            self._idle.remove(module)
            self._open(module)
        for name in [name for name in self._services if name in self._named_by_libc]:
            for address in self._services.pop(name):
                self._reach.root(address, f"name service function: {name}")
        if self._process.interpreter is None and NSSWITCH in self._named:
            self.assumed.add(NO_MODULES)
        return len(self._reach.roots) + len(self._reach.root_objects) > before

    def _is_opened(self, module: Module) -> bool:
        """Whether reachable code can open a module: a directory counts where a name is put together."""
        if module.declared:
            return True
        named = self._named & module.opened_by or (self._opens_computed and self._named & module.listed_by)
        if not named:
            return False
        for assumption, is_about in ((NO_ENGINES, _is_engine), (NO_IDN, self._is_for_hosts_alone)):
            if assumption in self._assume and is_about(module):
                self.assumed.add(assumption)
                return False
        return True

    def _is_for_hosts_alone(self, module: Module) -> bool:
        """Whether it is libidn2, and only itself and the object that looks hosts up have a name of it."""
        if not module.exports.keys() >= _IDN_ENTRIES:
            return False
        memory = self._process.memory
        asking = {memory.image(address) for address in self._exports.get(_ASKS_FOR_HOSTS, ())}
        places = (at for name in module.opened_by for at in memory.places(name.encode() + b"\0"))
        return {memory.image(at) for at in places} - {module.image} == asking

    def _read_strings(self) -> None:
        """Note the strings that were named since the last call."""
        memory = self._process.memory
        if not self._process.modules:  # then one string matters
            places = memory.places(NSSWITCH.encode() + b"\0")
            self._named |= {NSSWITCH} if any(place in self._reach.named_data for place in places) else set()
            return
        new = self._reach.named_data - self._seen
        self._seen |= new
        found: set[bytes] = set()
        for named in new:
            address = named
            text = memory.string(address, _LONGEST_NAME)
            while text and text.isascii():
                found.add(text)
                address += len(text) + 1
                text = memory.string(address, _LONGEST_NAME)
                if not text.startswith(b"/"):  # else one more path of a list
                    break
        texts = {text.decode("ascii") for text in found}
        self._named |= texts
        if NSSWITCH in self._named:
            self._named_by_libc |= texts

    def _string(self, address: int) -> str:
        """Return the ASCII string at an address, or "" where there is none."""
        raw = self._process.memory.string(address, _LONGEST_NAME)
        return raw.decode("ascii") if raw.isascii() else ""

    def _open(self, module: Module) -> None:
        opened = (module.image, *module.brings)
        for image in opened:
            add_image(self._reach, self._process.memory, image)
        for resolver in resolvers_of(self._process.memory, opened):
            self._reach.root(resolver, "IRELATIVE resolver")
        for name, address in module.exports.items():
            if not self._process.memory.executable(address):
                continue
            service = _SERVICE_FUNCTION.fullmatch(name)
            if service is None:
                self._reach.root(address, f"exported to dlsym: {name}")
            else:
                self._services.setdefault(service[1], []).append(address)
                self._exports.setdefault(name, []).append(address)

    def _look_up(self) -> None:
        """
        Add the functions that dlsym is asked for, and note where that, or what dlopen opens, is computed.

        A site is asked again when more is reached, which may pass on more names, until they are unknown.
        """
        finders = [address for name in _FINDERS for address in self._exports.get(name, ())]
        openers = [address for name in _OPENERS for address in self._exports.get(name, ())]
        called = [entry for entry in (*finders, *openers) if self._reach.callers.get(entry)]
        if not called:
            return
        questions = self._ask()
        arguments = questions.listings.architecture.conventions.arguments
        for entry in called:
            for site in questions.graph.call_sites(entry):
                if site.last in self._unknown:
                    continue
                argument = arguments[1 if entry in finders else 0]
                answer = questions.values.before(site, site.last, argument)
                names = [self._string(address) for address in answer.values]
                if not answer.only_numbers():
                    self._unknown.add(site.last)
                    self.assumed.add(DECLARED_MODULES)
                    self._opens_computed |= entry in openers
                    self.looks_up_computed |= entry in finders
                    continue
                for name in names if entry in finders else ():
                    for address in self._exports.get(name, ()):
                        if self._process.memory.executable(address):
                            self._reach.root(address, f"looked up by its name: {name}")
