"""File sets of programs that are compiled here, in roots of their own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from images.closure import FileSet, Inclusion, Selection, file_set
from images.errors import ConflictsError, ImageSpecError, SourceError
from images.explain import explain, why_not
from images.loader_cache import cache_bytes
from images.source import DirectorySource
from images.tree import Kind, Tree
from shim.analysis.derive import derivation
from shim.analysis.footprint import footprint
from shim.elf.files import RootedFiles
from shim.elf.ldcache import parse_cache
from shim.profile.footprint import Footprint
from shim.profile.profile import Profile

Compile = Callable[..., bytes]
HOST = DirectorySource("/")
# Roots with the same libraries and links give the same analysis, which takes most of the time.
ANALYSED: dict[object, tuple[Profile, Footprint]] = {}


@dataclass
class Root:
    """A root directory with a program, the loader and libc of this machine, and what a test adds."""

    folder: Path
    data: bytes = b""
    environment: dict[str, str] = field(default_factory=dict)

    def put(self, path: str, data: bytes | str = b"data", mode: int = 0o644) -> None:
        place = self.folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data if isinstance(data, bytes) else data.encode())
        place.chmod(mode)

    def link(self, path: str, target: str) -> None:
        place = self.folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def program(self, data: bytes, path: str = "/bin/program") -> None:
        self.data = data
        self.put(path, data, 0o755)

    def library(self, path: str) -> None:
        self.put(path, Path(path).resolve().read_bytes())

    def files(
        self,
        *include: Inclusion,
        exclude: tuple[str, ...] = (),
        directories: tuple[str, ...] = (),
        modules: tuple[str, ...] = (),
        change: Callable[[], None] = lambda: None,
    ) -> FileSet:
        source = DirectorySource(str(self.folder))
        self.profile, self.footprint = self.analysed(modules)
        change()
        selection = Selection("/bin/program", self.environment, include, exclude, directories)
        return file_set(self.data, self.profile, self.footprint, source, HOST, selection)

    def analysed(self, modules: tuple[str, ...]) -> tuple[Profile, Footprint]:
        files = sorted(
            (str(path.relative_to(self.folder)), path.lstat().st_size)
            for path in self.folder.rglob("*")
            if ".so" in path.name or path.is_symlink() or path.name == "nsswitch.conf"
        )
        key = (self.data, modules, tuple(files))
        if key not in ANALYSED:
            source = RootedFiles(str(self.folder))
            derived = derivation(self.data, "/bin/program", files=source, modules=modules)
            ANALYSED[key] = (derived.profile, footprint(derived.program, derived.remaining))
        return ANALYSED[key]

    def tree(self, *include: Inclusion, **options: object) -> Tree:
        return Tree.of(self.files(*include, **options).entries)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


@pytest.fixture
def dynamic(root: Root, compile_c: Compile) -> Root:
    root.program(compile_c("int main(void) { return 0; }"))
    root.library("/lib64/ld-linux-x86-64.so.2")
    root.library("/lib/x86_64-linux-gnu/libc.so.6")
    return root


def names(tree: Tree) -> set[str]:
    return {entry.name for entry in tree.entries if entry.kind is not Kind.DIRECTORY}


def include(path: str, target: str = "") -> Inclusion:
    return Inclusion(path, target, path + (f":{target}" if target else ""))


def test_a_static_program_is_alone(root: Root, compile_c: Compile) -> None:
    root.program(compile_c("int main(void) { return 0; }", "-static", compiler="musl-gcc"))
    root.put("/etc/passwd")
    assert names(root.tree()) == {"/bin/program"}


def test_a_dynamic_program_has_its_loader_and_libraries(dynamic: Root) -> None:
    tree = dynamic.tree()
    assert names(tree) == {"/bin/program", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"}
    chain = explain(tree, "/lib/x86_64-linux-gnu/libc.so.6")
    assert chain == (
        "/bin/program is the program",
        "/lib/x86_64-linux-gnu/libc.so.6 is needed by it: libc.so.6",
    )


def test_links_on_the_way_are_kept(dynamic: Root) -> None:
    (dynamic.folder / "lib").rename(dynamic.folder / "usr")
    dynamic.link("/lib", "usr")
    (dynamic.folder / "usr/x86_64-linux-gnu/libc.so.6").rename(
        dynamic.folder / "usr/x86_64-linux-gnu/libc-real.so"
    )
    dynamic.link("/usr/x86_64-linux-gnu/libc.so.6", "libc-real.so")
    tree = dynamic.tree()
    assert {"/lib", "/usr/x86_64-linux-gnu/libc.so.6", "/usr/x86_64-linux-gnu/libc-real.so"} <= names(tree)
    found = tree.find(b"/lib/x86_64-linux-gnu/libc.so.6")
    assert found is not None
    assert found.name == "/usr/x86_64-linux-gnu/libc-real.so"
    assert "link on the way" in explain(tree, "/lib")[-1]


def test_a_library_found_by_the_cache_alone_brings_a_cache(
    dynamic: Root, compile_c: Compile, tmp_path: Path
) -> None:
    library = compile_c("int own(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,libown.so.1")
    (tmp_path / "libown.so").write_bytes(library)
    dynamic.program(
        compile_c(
            "int own(void); int main(void) { return own(); }",
            "-Wl,--no-as-needed",
            str(tmp_path / "libown.so"),
        )
    )
    dynamic.put("/srv/libs/libown.so.1", library)
    dynamic.put(
        "/etc/ld.so.cache",
        cache_bytes([("libown.so.1", "/srv/libs/libown.so.1"), ("libother.so", "/x/libother.so")]),
    )
    entry = dynamic.tree().get(b"/etc/ld.so.cache")
    assert entry is not None
    assert list(parse_cache(entry.data(), "it")) == ["libown.so.1"]


def test_code_and_data_have_their_modes(dynamic: Root) -> None:
    dynamic.put("/etc/key", mode=0o600)
    dynamic.put("/etc/tool", mode=0o4775)
    dynamic.put("/etc/text", mode=0o664)
    tree = dynamic.tree(include("/etc"), directories=("/tmp", "/srv"))  # noqa: S108  # a path of the image
    modes = {entry.name: entry.mode for entry in tree.entries}
    assert modes["/bin/program"] == modes["/lib/x86_64-linux-gnu/libc.so.6"] == modes["/etc/tool"] == 0o755
    assert (modes["/etc/key"], modes["/etc/text"], modes["/" + "tmp"], modes["/srv"]) == (
        0o600,
        0o644,
        0o1777,
        0o755,
    )


def test_data_is_there_with_its_use(root: Root, compile_c: Compile) -> None:
    source = '#include <pwd.h>\nint main(void) { return getpwnam("x") != 0; }\n'
    root.program(compile_c(source))
    root.library("/lib64/ld-linux-x86-64.so.2")
    root.library("/lib/x86_64-linux-gnu/libc.so.6")
    for path in ("/etc/passwd", "/etc/nsswitch.conf", "/etc/hosts", "/etc/shadow", "/etc/services"):
        root.put(path, mode=0o755)
    tree = root.tree()
    assert names(tree) & {
        "/etc/passwd",
        "/etc/nsswitch.conf",
        "/etc/hosts",
        "/etc/shadow",
        "/etc/services",
    } == {"/etc/passwd", "/etc/nsswitch.conf"}
    assert explain(tree, "/etc/passwd")[-1] == "/etc/passwd is used by it (accounts): calls getpwnam"
    entry = tree.get(b"/etc/passwd")
    assert entry is not None
    assert entry.mode == 0o644


def test_a_directory_of_links_brings_what_they_lead_to(dynamic: Root) -> None:
    dynamic.put("/usr/share/real.crt")
    dynamic.link("/etc/certs/a.pem", "/usr/share/real.crt")
    dynamic.link("/etc/certs/hash.0", "a.pem")
    dynamic.link("/etc/certs/nowhere", "/gone")
    tree = dynamic.tree(include("/etc/certs"))
    assert {"/usr/share/real.crt", "/etc/certs/a.pem", "/etc/certs/hash.0", "/etc/certs/nowhere"} <= names(
        tree
    )


def test_what_a_user_gives_stands_for_data_but_not_for_code(dynamic: Root, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_bytes(b"own")
    files = dynamic.files(include(str(own), "/etc/hosts"))
    assert "/etc/hosts" in names(Tree.of(files.entries))
    for place in ("/bin/program", "/lib/x86_64-linux-gnu/libc.so.6"):
        with pytest.raises(ConflictsError, match="one file for one path"):
            dynamic.tree(include(str(own), place))


def test_an_inclusion_behind_a_link_goes_where_it_leads(dynamic: Root, tmp_path: Path) -> None:
    (dynamic.folder / "lib").rename(dynamic.folder / "usr")
    dynamic.link("/lib", "usr")
    own = tmp_path / "own"
    own.write_bytes(b"own")
    assert "/usr/own" in names(dynamic.tree(include(str(own), "/lib/own")))


def test_code_that_is_only_included_is_said(dynamic: Root, compile_c: Compile) -> None:
    dynamic.put("/opt/plugin.so", compile_c("int entry(void) { return 1; }", "-shared", "-fPIC"))
    assert "not analysed" in "".join(dynamic.files(include("/opt")).findings)
    declared = dynamic.files(include("/opt"), modules=("/opt/plugin.so",))
    assert "not analysed" not in "".join(declared.findings)
    assert explain(Tree.of(declared.entries), "/opt/plugin.so")[-1].startswith("/opt/plugin.so was declared")


def test_what_is_excluded_stays_out(dynamic: Root) -> None:
    dynamic.put("/opt/a/keep")
    dynamic.put("/opt/a/__pycache__/x.pyc")
    files = dynamic.files(include("/opt"), exclude=("*/__pycache__", "/lib*"))
    tree = Tree.of(files.entries)
    assert "/opt/a/keep" in names(tree)
    assert "/opt/a/__pycache__/x.pyc" not in names(tree)
    assert "/lib/x86_64-linux-gnu/libc.so.6" in names(tree)
    source = DirectorySource(str(dynamic.folder))
    answer = why_not(tree, files, dynamic.footprint, source, "/opt/a/__pycache__/x.pyc")
    assert answer[-1] == "--exclude leaves it out"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/secret", "no code that can run names it"),
        ("/etc/gone", "not in the source either"),
        ("/bin/program", "is in the image"),
        ("/etc/used", "main in /bin/program names it"),
        ("/etc/pipe", "a device, a socket or a pipe"),
        ("/lib/plugin.so", "no code that can run leads to it"),
    ],
)
def test_why_a_file_is_not_there(dynamic: Root, compile_c: Compile, path: str, said: str) -> None:
    source = """
    #include <fcntl.h>
    #include <dlfcn.h>
    const char *const never = "/lib/plugin.so";
    int main(int argc, char **argv) { dlopen(argv[1], RTLD_NOW); return open("/etc/used", O_RDONLY); }
    """
    if path == "/lib/plugin.so":  # which is else taken for more of a list that begins with the other
        source = source.replace('open("/etc/used", O_RDONLY)', "argc")
    dynamic.program(compile_c(source))
    for name in ("/etc/secret", "/etc/used"):
        dynamic.put(name)
    dynamic.put("/lib/plugin.so", compile_c("int entry(void) { return 1; }", "-shared", "-fPIC"))
    os.mkfifo(dynamic.folder / "etc/pipe")
    files = dynamic.files()
    found = why_not(
        Tree.of(files.entries), files, dynamic.footprint, DirectorySource(str(dynamic.folder)), path
    )
    assert said in "\n".join(found)


def test_a_file_that_the_program_names_is_suggested(dynamic: Root, compile_c: Compile) -> None:
    dynamic.program(compile_c('#include <fcntl.h>\nint main(void) { return open("/etc/used", O_RDONLY); }\n'))
    dynamic.put("/etc/used")
    assert "--include /etc/used" in "".join(dynamic.files().findings)
    assert "--include" not in "".join(dynamic.files(include("/etc/used")).findings)


@pytest.mark.parametrize(
    ("path", "file", "mode", "suggested"),
    [
        ("/usr/share/words/en", "list", 0o755, True),
        ("/usr/share/words/", "en", 0o755, True),
        ("/etc/words.d", "en", 0o755, True),
        ("/usr/share/words", "", 0o755, False),
        ("/usr/share/words", "en", 0o700, False),
        ("/usr/share/locale", "en", 0o755, False),
        ("/usr/share/zoneinfo", "UTC", 0o755, False),
        ("/usr/lib/go-1.19", "VERSION", 0o755, False),
        ("/srv/words", "en", 0o755, False),
        ("/var/log/words", "en", 0o755, False),
    ],
)
def test_a_directory_of_data_that_the_program_names_is_suggested(
    dynamic: Root,
    compile_c: Compile,
    path: str,
    file: str,
    mode: int,
    suggested: bool,  # noqa: FBT001
) -> None:
    dynamic.program(compile_c(f'#include <unistd.h>\nint main(void) {{ return chdir("{path}"); }}\n'))
    place = path.rstrip("/")
    dynamic.put(f"{place}/{file or 'x'}")
    if not file:
        (dynamic.folder / place[1:] / "x").unlink()
    (dynamic.folder / place[1:]).chmod(mode)
    found = [line for line in dynamic.files().findings if f"--include {place} " in line]
    assert (
        found
        == [
            f"{place}: the program names it, and nothing of it is in the image; --include {place} if it needs it"
        ]
        * suggested
    )
    if suggested:
        assert "--include" not in "".join(dynamic.files(include(f"{place}/{file}")).findings)
        dynamic.put(f"{place}/key")
        (dynamic.folder / place[1:] / "key").chmod(0o600)
        assert "--include" not in "".join(dynamic.files().findings)


def test_a_directory_of_data_that_a_library_names_is_suggested(dynamic: Root, compile_c: Compile) -> None:
    """As Tcl's library names where its scripts are; what it reads of /etc is not said of every library."""
    names = '"/usr/share/words"', '"/etc/words.d"'
    source = f"#include <unistd.h>\nint f(void) {{ return chdir({names[0]}) + chdir({names[1]}); }}\n"
    library = compile_c(source, "-shared", "-fPIC", "-Wl,-soname,libwords.so")
    dynamic.put("/lib/x86_64-linux-gnu/libwords.so", library)
    built = dynamic.folder.parent / "libwords.so"
    built.write_bytes(library)
    dynamic.program(
        compile_c("int f(void); int main(void) { return f(); }", "-Wl,--no-as-needed", str(built))
    )
    dynamic.put("/usr/share/words/en")
    dynamic.put("/etc/words.d/en")
    suggested = [line for line in dynamic.files().findings if "--include" in line]
    assert [line.partition(":")[0] for line in suggested] == ["/usr/share/words"]
    assert "libwords.so names it" in suggested[0]


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "opt/x")


def a_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        old = Path.cwd()
        os.chdir(folder / "opt")
        listener.bind("x")
        os.chdir(old)


def a_name_with_a_newline(folder: Path) -> None:
    (folder / "opt/a\nb").write_bytes(b"")


def a_name_that_is_no_text(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/opt/\xff")).write_bytes(b"")


def a_link_that_escapes(folder: Path) -> None:
    (folder / "opt/up").symlink_to("../../../../etc/shadow")


@pytest.mark.parametrize(
    "harm", [a_pipe, a_socket, a_name_with_a_newline, a_name_that_is_no_text, a_link_that_escapes]
)
def test_what_no_image_holds(dynamic: Root, harm: Callable[[Path], None]) -> None:
    dynamic.put("/opt/fine")
    harm(dynamic.folder)
    with pytest.raises((ImageSpecError, ConflictsError)):
        dynamic.tree(include("/opt"))


def test_a_link_never_leads_out_of_the_root(dynamic: Root) -> None:
    dynamic.link("/etc/passwd-link", "../../../../../../etc/passwd")
    assert dynamic.files().entries
    with pytest.raises(ImageSpecError, match="nothing there"):
        dynamic.tree(include("/etc/passwd-link"))


@pytest.mark.parametrize("unreadable", ["opt/private", "opt/private/x"])
def test_what_cannot_be_read_is_not_left_out_in_silence(dynamic: Root, unreadable: str) -> None:
    dynamic.put("/opt/private/x")
    dynamic.analysed(())
    for above in (dynamic.folder, *dynamic.folder.parents):
        mode = above.stat().st_mode
        if not mode & 0o001:  # pytest's own folders are for their user alone
            above.chmod(mode & 0o7777 | 0o011)
    place = dynamic.folder / unreadable
    place.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root reads everything
    try:
        with pytest.raises(SourceError, match=f"/{unreadable}: found Permission denied"):
            dynamic.tree(include("/opt"))
    finally:
        os.seteuid(user)
        place.chmod(0o755)


@pytest.mark.parametrize("path", ["/gone", "/etc/loop"])
def test_an_inclusion_that_is_not_there(dynamic: Root, path: str) -> None:
    dynamic.link("/etc/loop", "loop")
    with pytest.raises(ImageSpecError):
        dynamic.tree(include(path))
    with pytest.raises(ImageSpecError):
        dynamic.tree(include(str(dynamic.folder) + path, "/x"))


def test_a_library_that_changes_during_the_build(dynamic: Root) -> None:
    with pytest.raises(SourceError, match="as it was analysed"):
        dynamic.tree(change=lambda: dynamic.put("/lib/x86_64-linux-gnu/libc.so.6", b"other"))
    dynamic.library("/lib/x86_64-linux-gnu/libc.so.6")
    with pytest.raises(SourceError, match="the object that was analysed"):
        dynamic.tree(change=(dynamic.folder / "lib/x86_64-linux-gnu/libc.so.6").unlink)
