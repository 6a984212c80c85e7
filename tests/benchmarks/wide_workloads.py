"""
Which programs, from which packages, and what they are made to do.

Each step is one command line.  `{d}` is a fresh folder, in which `setup` has run.  A server's step has `clients`,
a shell script that runs meanwhile; what the clients print is the output, and a signal ends the server.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One command line: its words behind the program's, what it reads, and what goes on meanwhile."""

    words: tuple[str, ...]
    stdin: bytes = b""
    clients: str = ""
    signal: int = signal.SIGTERM
    warmup: float = 1.0
    seconds: int = 20


@dataclass(frozen=True, slots=True)
class Program:
    """A program: where it is, or how it is built ($OUT), the modules that have to be declared, its steps."""

    name: str
    path: str
    packages: tuple[str, ...]
    steps: tuple[Step, ...]
    setup: str = ""
    modules: tuple[str, ...] = ()
    build: str = ""


def step(*words: str, stdin: bytes = b"") -> Step:
    """Return a step with these words."""
    return Step(words, stdin)


def served(*words: str, clients: str, warmup: float = 1.0, stop: int = signal.SIGTERM) -> Step:
    """Return the step of a server: `clients` runs when `warmup` seconds have passed."""
    return Step(words, clients=clients, warmup=warmup, signal=stop)


FILES = (
    "mkdir -p t/u; printf 'b\\na\\nc c\\n' > a; seq 1 3000 > n; cp n t/u/n; ln -s a l; printf 'x=1\\n' > t/x"
)
KEYS = "openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=localhost"
FETCH = "curl -m5 -s http://127.0.0.1:{port}/ ; curl -m5 -s http://127.0.0.1:{port}/none | wc -l"
SHELL_SCRIPT = """echo hi > f; x=$(cat f); for i in 1 2 3; do echo $i; done | sort -r; read a < f; echo "$a $x"
cat <<X >> f
here
X
(sleep 0.02; echo bg) & wait; trap 'echo t' USR1; kill -USR1 $$; ulimit -n >/dev/null; umask 022; echo *; cd /tmp; cd - >/dev/null
test -f f && test -r f; exec 5<> f; exec 5>&-; echo ~root; sh -c 'exit 3'; echo $?; kill -0 $$; times >/dev/null; pwd -P >/dev/null"""
SHELL_ALONE = """x=1; y=$((x + 2)); echo $y > f; read a < f; echo $a; (echo sub; exit 2); echo $?; echo a b | { read p q; echo $q; }
trap 'echo t' USR1; kill -USR1 $$; umask 022; echo *; cd /; exec 5> /dev/null; echo ${y%3}; ulimit -n > /dev/null; { true; } & wait"""
C_SOURCE = '#include <stdio.h>\\nint main(int c, char **v) { printf("%%d\\\\n", c); return 0; }\\n'
C_FILES = f"printf '{C_SOURCE}' > m.c; gcc -S m.c; gcc -c m.c; printf 'all: o\\no: m.c\\n\\t@cp m.c o && echo made\\n' > Makefile"

PROGRAMS = (
    # Shells.
    Program(
        "dash",
        "/bin/dash",
        ("dash",),
        (step("-c", SHELL_SCRIPT), step("-c", SHELL_ALONE), step(stdin=b"echo in\n")),
    ),
    Program(
        "bash",
        "/bin/bash",
        ("bash",),
        (
            step("-c", SHELL_SCRIPT),
            step("-c", SHELL_ALONE),
            step("-ic", "echo hi; jobs; history"),
            step(
                "-c",
                "exec 3<>/dev/tcp/127.0.0.1/9; printf '%(%F)T\\n' 0; coproc { read x; echo $x; }; echo q >&${COPROC[1]}; "
                "wait; read -t 0.1 z < /dev/zero; echo {1..3}; [[ a =~ (a) ]]; mapfile -t m < /etc/passwd; echo ${#m[@]} > /dev/null",
            ),
        ),
    ),
    Program(
        "zsh",
        "/bin/zsh",
        ("zsh",),
        (
            step("-fc", SHELL_SCRIPT),
            step("-fc", SHELL_ALONE),
            step("-fic", "zmodload zsh/stat zsh/net/tcp zsh/zpty; stat -L +size /etc/passwd; print -P %n"),
        ),
    ),
    Program(
        "fish",
        "/usr/bin/fish",
        ("fish",),
        (
            step(
                "-N",
                "-c",
                "for i in 1 2 3; echo $i; end | sort; set x (cat /etc/hostname); string upper abc; math 3+4; count *",
            ),
        ),
    ),
    Program("mksh", "/bin/mksh", ("mksh",), (step("-c", SHELL_SCRIPT), step("-c", SHELL_ALONE))),
    Program(
        "tcsh",
        "/bin/tcsh",
        ("tcsh",),
        (step("-fc", "echo hi > f; cat f; set x=`wc -l < f`; echo $x; jobs; cd /; umask"),),
    ),
    Program(
        "bash-static",
        "/bin/bash-static",
        ("bash-static",),
        (step("-c", SHELL_SCRIPT), step("-c", SHELL_ALONE)),
    ),
    Program(
        "zsh-static",
        "/bin/zsh-static",
        ("zsh-static",),
        (step("-fc", SHELL_SCRIPT), step("-fc", SHELL_ALONE)),
    ),
    Program(
        "sash",
        "/bin/sash",
        ("sash",),
        (
            step("-c", "-ls /etc"),
            step("-c", "-echo hi"),
            step("-c", "-cp a b"),
            step(stdin=b"-pwd\n-ls -l\n-sum a\n-grep a a\n-mkdir m\n-mv a m\n-tar cf t.tar m\n-gzip t.tar\n"),
        ),
        FILES,
    ),
    Program(
        "busybox",
        "/bin/busybox",
        ("busybox-static",),
        (
            step("sh", "-c", SHELL_ALONE),
            step("ls", "-lR", "/etc"),
            step("awk", "{ s += $1 } END { print s }", "n"),
            step("tar", "cf", "t.tar", "t"),
            step("nslookup", "localhost", "127.0.0.1"),
            step("sort", "n"),
            step("id"),
            step("gzip", "-kf", "n"),
            step("wget", "-qO-", "http://127.0.0.1:9/"),
            step("find", "/etc", "-name", "*.conf"),
        ),
        FILES,
    ),
    Program(
        "klibc-sh",
        "/usr/lib/klibc/bin/sh",
        ("klibc-utils",),
        (step("-c", SHELL_ALONE), step("-c", SHELL_SCRIPT)),
    ),
    Program("klibc-ls", "/usr/lib/klibc/bin/ls", ("klibc-utils",), (step("-l", "/etc"), step())),
    # Files and text.
    Program(
        "ls",
        "/bin/ls",
        ("coreutils",),
        (
            step("-laR", "/usr/lib/klibc"),
            step("-l", "--color=always", "{d}"),
            step("-Z", "/"),
            step("--sort=version", "/usr/lib"),
        ),
        FILES,
    ),
    Program(
        "cp",
        "/bin/cp",
        ("coreutils",),
        (
            step("-a", "t", "t2"),
            step("--sparse=always", "n", "m"),
            step("--reflink=auto", "n", "m"),
            step("-l", "n", "m"),
            step("-s", "n", "m"),
            step("none", "m"),
        ),
        FILES,
    ),
    Program(
        "sort",
        "/usr/bin/sort",
        ("coreutils",),
        (
            step("n"),
            step("--parallel=4", "-S", "100k", "-r", "n", "n", "n"),
            step("-m", "-o", "o", "n", "n"),
            step("-c", "n"),
            step("-R", "a"),
            step("--compress-program=gzip", "-S", "20k", "n", "n", "n"),
        ),
        FILES,
    ),
    Program(
        "timeout",
        "/usr/bin/timeout",
        ("coreutils",),
        (step("0.2", "sleep", "5"), step("5", "true"), step("-k", "1", "5", "false")),
    ),
    Program(
        "dd",
        "/bin/dd",
        ("coreutils",),
        (
            step("if=n", "of=m", "bs=512", "conv=fsync,sparse", "status=none"),
            step("if=/dev/zero", "of=m", "bs=1M", "count=2", "oflag=direct", "status=none"),
        ),
        FILES,
    ),
    Program("id", "/usr/bin/id", ("coreutils",), (step(), step("nobody"), step("nouser"), step("-G"))),
    Program("stty", "/bin/stty", ("coreutils",), (step("-a"), step("-F", "/dev/null"))),
    Program(
        "find",
        "/usr/bin/find",
        ("findutils",),
        (
            step("/etc", "-type", "f"),
            step(".", "-user", "root", "-ls"),
            step(".", "-name", "n", "-delete"),
            step(".", "-exec", "echo", "{}", ";"),
        ),
        FILES,
    ),
    Program(
        "xargs",
        "/usr/bin/xargs",
        ("findutils",),
        (step("-P2", "-n1", "echo", stdin=b"a\nb\n"), step(stdin=b"c\n")),
    ),
    Program(
        "grep",
        "/bin/grep",
        ("grep",),
        (step("-rn", "1", "."), step("-P", "^[a-c]\\d*", "a"), step("-c", "x", "none")),
        FILES,
    ),
    Program(
        "sed",
        "/bin/sed",
        ("sed",),
        (
            step("-i.bak", "s/1/2/g", "n"),
            step("-n", "/a/p;$=", "a"),
            step("-s", "w o", "a"),
            step("1e echo hi", "a"),
        ),
        FILES,
    ),
    Program(
        "tar",
        "/bin/tar",
        ("tar",),
        (
            step("cf", "o.tar", "t", "a", "l"),
            step("tvf", "i.tar"),
            step("xpf", "i.tar", "-C", "t"),
            step("czf", "o.tgz", "t"),
            step("--xattrs", "--acls", "-cf", "o.tar", "t"),
        ),
        FILES + "; tar cf i.tar t a l",
    ),
    Program(
        "gzip",
        "/bin/gzip",
        ("gzip",),
        (step("-k", "n"), step("-dc", "z.gz"), step("-l", "z.gz")),
        FILES + "; gzip -c n > z.gz",
    ),
    Program(
        "xz",
        "/usr/bin/xz",
        ("xz-utils",),
        (
            step("-k", "n"),
            step("-T2", "--block-size=4096", "-k", "n"),
            step("-dc", "z.xz"),
            step("--list", "z.xz"),
        ),
        FILES + "; xz -c n > z.xz",
    ),
    Program(
        "zstd",
        "/usr/bin/zstd",
        ("zstd",),
        (
            step("-q", "n", "-o", "o"),
            step("-q", "-T2", "-19", "n", "-o", "o"),
            step("-dqc", "z.zst"),
            step("-b1", "-i0", "n"),
        ),
        FILES + "; zstd -q n -o z.zst",
    ),
    Program(
        "rsync",
        "/usr/bin/rsync",
        ("rsync",),
        (
            step("-a", "t/", "t2"),
            step("-aHAX", "--delete", "t/", "t2"),
            served(
                "--daemon",
                "--no-detach",
                "--port=18873",
                "--config={d}/r.conf",
                clients="rsync -a rsync://127.0.0.1:18873/m/ q; ls -R q",
            ),
        ),
        FILES + "; printf 'use chroot = no\\n[m]\\npath = t\\nread only = yes\\n' > r.conf",
    ),
    Program(
        "jq",
        "/usr/bin/jq",
        ("jq",),
        (step(".a[1]", stdin=b'{"a":[1,2]}'), step("-n", "now|todate|length"), step("-n", "env|length>0")),
    ),
    Program("less", "/usr/bin/less", ("less",), (step("-FX", "a"), step("--version")), FILES),
    Program("bc", "/usr/bin/bc", ("bc",), (step("-l", stdin=b"scale=20\n4*a(1)\n"),)),
    Program(
        "ed",
        "/bin/ed",
        ("ed",),
        (step("-s", "a", stdin=b"1,$p\n1d\nw\nq\n"), step("a", stdin=b"!echo x\nq\n")),
        FILES,
    ),
    Program(
        "m4",
        "/usr/bin/m4",
        ("m4",),
        (step(stdin=b"define(x,`y')x syscmd(echo hi)esyscmd(date +%Y)eval(3*4)maketemp(zXXXXXX)\n"),),
    ),
    # Interpreters.
    Program(
        "mawk",
        "/usr/bin/mawk",
        ("mawk",),
        (
            step(
                '{ print $1 > "o"; s += $1 } END { print s; close("o"); "date +%Y" | getline x; print x; system("true"); print "b\\na" | "sort" }',
                "n",
            ),
            step('BEGIN { srand(); printf "%s\\n", substr("abc", 2) }'),
        ),
        FILES,
    ),
    Program(
        "gawk",
        "/usr/bin/gawk",
        ("gawk",),
        (
            step(
                '{ print $1 > "o" } END { "date +%Y" | getline x; print x; print strftime("%Y"); system("true"); print "b" |& "cat"; close("cat", "to"); "cat" |& getline y; print y }',
                "n",
            ),
            step('BEGIN { s = "/inet/tcp/0/127.0.0.1/9"; print "x" |& s; printf "%d\\n", length("aä") }'),
            step("-l", "filefuncs", 'BEGIN { stat("a", d); print d["size"] }', "/dev/null"),
        ),
        FILES,
    ),
    Program(
        "perl",
        "/usr/bin/perl",
        ("perl",),
        (
            step(
                "-e",
                'open F,">f";print F "x\\n" x 9;close F;print -s "f";$p=fork;if(!$p){exit 3}wait;print $?>>8;$SIG{ALRM}=sub{print "al"};alarm 1;sleep 2;print join ",",(getpwuid 0)[0,7];opendir D,"/etc";@x=readdir D;print `echo hi`;sysopen G,"f",0;flock G,2;utime 1,1,"f";rename "f","g";unlink "g"',
            ),
            step(
                "-MSocket",
                "-MPOSIX",
                "-MTime::HiRes",
                "-e",
                'socket S,PF_INET,SOCK_STREAM,0;connect S,sockaddr_in(9,inet_aton "localhost");print POSIX::strftime("%Y",gmtime 0);Time::HiRes::usleep(10);setlocale(LC_ALL,"")',
            ),
            step("-Mthreads", "-e", "threads->create(sub{print 1})->join"),
        ),
    ),
    Program(
        "python3",
        "/usr/bin/python3.11",
        ("python3.11-minimal",),
        (
            step(
                "-c",
                "import os,socket,threading,subprocess,time,signal,tempfile,locale; t=threading.Thread(target=print,args=(1,));t.start();t.join();print(subprocess.run(['echo','x'],capture_output=True).stdout);s=socket.socket();s.bind(('127.0.0.1',0));s.listen();socket.create_connection(s.getsockname()).send(b'x');print(socket.gethostbyname('localhost'));open('f','w').write('x');os.rename('f','g');print(os.listdir('.'),os.cpu_count()>0)",
            ),
        ),
    ),
    Program(
        "ruby",
        "/usr/bin/ruby",
        ("ruby",),
        (
            step(
                "-e",
                "File.write('f','x'*99);puts File.size('f');Thread.new{puts 1}.join;puts `echo hi`;puts Process.wait2(fork{exit 3})[1].exitstatus;trap('USR1'){puts :t};Process.kill('USR1',$$);sleep 0.05;puts Dir.children('.').sort.inspect",
            ),
            step(
                "-rsocket",
                "-retc",
                "-e",
                "s=TCPServer.new('127.0.0.1',0);t=Thread.new{c=s.accept;c.puts 'x';c.close};puts TCPSocket.new('127.0.0.1',s.addr[1]).gets;t.join;puts Etc.getpwuid(0).name;puts Addrinfo.tcp('localhost',80).ip_address",
            ),
        ),
    ),
    Program(
        "lua",
        "/usr/bin/lua5.4",
        ("lua5.4",),
        (
            step(
                "-e",
                "local f=io.open('f','w') f:write(('x'):rep(9)) f:close() print(io.open('f'):read('a'),os.rename('f','g'),os.execute('true'),io.popen('echo hi'):read('a'),os.tmpname()~=nil,os.time{year=2000,month=1,day=1}) os.setlocale('') os.exit(3)",
            ),
            step(
                "-e", "local f=io.open('f','w') f:write('x') f:close() print(os.remove('f'),os.date('%Y',0))"
            ),
        ),
    ),
    Program(
        "tclsh",
        "/usr/bin/tclsh8.6",
        ("tcl8.6",),
        (
            step(
                stdin=b"set f [open f w]; puts $f x; close $f; puts [file size f]; puts [exec echo hi]; puts [glob *]; after 20 {set z 1}; vwait z; set s [socket -server {apply {{c a p} {puts $c hey; close $c}}} -myaddr 127.0.0.1 0]; set c [socket 127.0.0.1 [lindex [fconfigure $s -sockname] 2]]; fileevent $c readable {puts [gets $c]; set z 2}; vwait z; puts [clock format 0 -gmt 1]\n"
            ),
        ),
    ),
    Program(
        "php",
        "/usr/bin/php8.2",
        ("php8.2-cli",),
        (
            step(
                "-r",
                "file_put_contents('f','x');echo filesize('f'),shell_exec('echo hi'),gethostbyname('localhost'),date('Y',0);$s=stream_socket_server('tcp://127.0.0.1:0');$c=stream_socket_client('tcp://'.stream_socket_get_name($s,false));fwrite(stream_socket_accept($s),'q');usleep(10);print_r(scandir('.'));echo json_encode([1]);mt_srand(3);random_int(1,2);",
            ),
            served("-S", "127.0.0.1:18890", "-t", "{d}", clients="curl -s http://127.0.0.1:18890/a"),
        ),
        FILES,
    ),
    Program(
        "guile",
        "/usr/bin/guile",
        ("guile-3.0",),
        (
            step(
                "--no-auto-compile",
                "-c",
                '(display (+ 1 2)) (use-modules (ice-9 threads) (ice-9 popen)) (display (join-thread (call-with-new-thread (lambda () 5)))) (call-with-output-file "f" (lambda (p) (display 1 p))) (display (stat:size (stat "f"))) (system "true")',
            ),
        ),
    ),
    Program(
        "ocamlrun",
        "/usr/bin/ocamlrun",
        ("ocaml-base",),
        (
            step("-version"),
            step(
                "/usr/bin/ocaml",
                "-e",
                'print_int (List.length [1;2]); let o = open_out "f" in output_string o "x"; close_out o; print_int (Sys.command "true")',
            ),
        ),
    ),
    Program(
        "sbcl",
        "/usr/bin/sbcl",
        ("sbcl",),
        (
            step(
                "--non-interactive",
                "--no-userinit",
                "--eval",
                '(progn (print (+ 1 2)) (with-open-file (f "f" :direction :output) (print 1 f)) (run-program "/bin/true" nil))',
            ),
        ),
    ),
    Program(
        "swipl",
        "/usr/bin/swipl",
        ("swi-prolog-nox",),
        (
            step(
                "-g",
                "X is 3+4,writeln(X),open('f',write,S),write(S,x),close(S),thread_create(writeln(a),T),thread_join(T)",
                "-t",
                "halt",
            ),
        ),
    ),
    Program(
        "qjs",
        "/usr/bin/qjs",
        ("quickjs",),
        (
            step(
                "-e",
                "print(1+2); let f=std.open('f','w'); f.puts('x'); f.close(); print(std.loadFile('f')); os.exec(['echo','hi']); os.sleep(5)",
            ),
        ),
    ),
    Program(
        "node",
        "/usr/bin/node",
        ("nodejs",),
        (
            step(
                "-e",
                "const fs=require('fs'),net=require('net');fs.writeFileSync('f','x');console.log(fs.statSync('f').size);const s=net.createServer(c=>c.end('q')).listen(0,'127.0.0.1',()=>net.connect(s.address().port,'127.0.0.1').on('data',d=>{console.log(''+d);s.close()}))",
            ),
        ),
    ),
    # Compiled languages.
    Program(
        "rg",
        "/usr/bin/rg",
        ("ripgrep",),
        (
            step("--sort", "path", "1", "."),
            step("-j4", "-c", "root", "/etc"),
            step("--mmap", "a", "a"),
            step("-z", "x", "."),
        ),
        FILES,
    ),
    Program(
        "fdfind", "/usr/bin/fdfind", ("fd-find",), (step(".", "/etc", "-j2"), step("n", "-x", "echo")), FILES
    ),
    Program(
        "bat",
        "/usr/bin/batcat",
        ("bat",),
        (step("-p", "a"), step("--color=always", "--paging=never", "n")),
        FILES,
    ),
    Program(
        "hugo",
        "/usr/bin/hugo",
        ("hugo",),
        (step("version"), step("new", "site", "s"), step("--source", "h", "--minify")),
        "mkdir -p h/content h/layouts; echo 'title=\"x\"' > h/config.toml; echo '# x' > h/content/_index.md; echo '{{ .Content }}' > h/layouts/index.html",
    ),
    Program(
        "gh",
        "/usr/bin/gh",
        ("gh",),
        (step("--version"), step("auth", "status"), step("api", "http://127.0.0.1:9/")),
    ),
    Program(
        "restic",
        "/usr/bin/restic",
        ("restic",),
        (step("init", "-r", "r", "--insecure-no-password"), step("version")),
        FILES,
    ),
    Program("runc", "/usr/sbin/runc", ("runc",), (step("spec"), step("list"), step("features"))),
    Program("crun", "/usr/bin/crun", ("crun",), (step("spec"), step("list"))),
    Program(
        "pandoc",
        "/usr/bin/pandoc",
        ("pandoc",),
        (step("-t", "html", stdin=b"# x\n\n* a\n"), step("-o", "o.docx", "a")),
        FILES,
    ),
    Program(
        "fpc",
        "/usr/bin/ppcx64",
        ("fp-compiler-3.2.2",),
        (step("-iV"), step("-s", "p.pas")),
        "echo 'program p; begin writeln(1) end.' > p.pas",
    ),
    Program(
        "aria2c",
        "/usr/bin/aria2c",
        ("aria2",),
        (
            step("--version"),
            served(
                "--enable-rpc",
                "--rpc-listen-port=18891",
                clients='curl -s http://127.0.0.1:18891/jsonrpc -d \'{"jsonrpc":"2.0","id":1,"method":"aria2.getVersion"}\' | wc -c',
            ),
            step("-q", "http://127.0.0.1:9/x"),
        ),
    ),
    Program(
        "ninja",
        "/usr/bin/ninja",
        ("ninja-build",),
        (step(), step("-t", "targets")),
        "printf 'rule r\\n command = echo x > $out\\nbuild o: r\\n' > build.ninja",
    ),
    Program(
        "cmake",
        "/usr/bin/cmake",
        ("cmake",),
        (step("--version"), step("-P", "s.cmake"), step("-E", "touch", "q"), step("-E", "sha256sum", "a")),
        FILES
        + '; printf \'file(GLOB x *)\\nfile(WRITE o "1")\\nexecute_process(COMMAND echo hi)\\nmessage("${x}")\\n\' > s.cmake',
    ),
    Program(
        "xmllint",
        "/usr/bin/xmllint",
        ("libxml2-utils",),
        (step("--format", "x.xml"), step("--xpath", "//b", "x.xml"), step("http://127.0.0.1:9/")),
        "echo '<a><b>1</b></a>' > x.xml",
    ),
    # Tool chains.
    Program(
        "gcc",
        "/usr/bin/gcc",
        ("gcc",),
        (step("-O2", "m.c", "-o", "m"), step("-E", "m.c"), step("-print-search-dirs")),
        C_FILES,
    ),
    Program(
        "cc1",
        "/usr/lib/gcc/x86_64-linux-gnu/12/cc1",
        ("gcc-12",),
        (step("-quiet", "-O2", "m.c", "-o", "m.s"),),
        C_FILES,
    ),
    Program("as", "/usr/bin/as", ("binutils",), (step("m.s", "-o", "q.o"), step("none.s")), C_FILES),
    Program(
        "ld", "/usr/bin/ld", ("binutils",), (step("-r", "m.o", "-o", "q.o"), step("m.o", "-o", "q")), C_FILES
    ),
    Program("make", "/usr/bin/make", ("make",), (step(), step("-j3"), step("-n"), step("none")), C_FILES),
    Program(
        "gdb",
        "/usr/bin/gdb",
        ("gdb",),
        (
            step("-nx", "-batch", "-ex", "run", "/bin/true"),
            step("-nx", "-batch", "-ex", "info functions main", "/bin/true"),
        ),
    ),
    Program(
        "strace",
        "/usr/bin/strace",
        ("strace",),
        (step("-f", "-o", "o", "true"), step("-c", "-o", "o", "true")),
    ),
    Program(
        "git",
        "/usr/bin/git",
        ("git",),
        (
            step("init", "-q", "r"),
            step("-C", "g", "log", "--oneline"),
            step("-C", "g", "gc", "-q"),
            step("-C", "g", "grep", "-n", "1"),
            step("clone", "-q", "g", "g2"),
            step("-C", "g", "commit", "-qam", "y", "--allow-empty"),
            step("ls-remote", "http://127.0.0.1:9/"),
        ),
        FILES
        + "; git init -q g; cp a n g; cd g; git config user.email a@b; git config user.name n; git add .; git commit -qm x",
    ),
    # Network programs.
    Program(
        "curl",
        "/usr/bin/curl",
        ("curl",),
        (
            step("-s", "http://127.0.0.1:9/"),
            step("-s", "file:///etc/hostname"),
            step("-s", "http://localhost:9/"),
            step("-s", "https://127.0.0.1:9/"),
            step("-sk", "https://no.such.host.invalid/"),
            step("-sV"),
        ),
    ),
    Program(
        "wget",
        "/usr/bin/wget",
        ("wget",),
        (
            step("-q", "-T1", "-t1", "http://127.0.0.1:9/"),
            step("-q", "-t1", "http://no.such.host.invalid/"),
            step("--version"),
        ),
    ),
    Program(
        "openssl",
        "/usr/bin/openssl",
        ("openssl",),
        (
            step("speed", "-seconds", "1", "-bytes", "16", "sha256"),
            step("genrsa", "1024"),
            step("dgst", "-sha256", "/etc/hostname"),
            step("rand", "-hex", "4"),
            step("list", "-providers", "-provider", "legacy"),
            step("enc", "-aes-128-cbc", "-pbkdf2", "-k", "x", "-in", "/etc/hostname"),
            served(
                "s_server",
                "-accept",
                "18892",
                "-cert",
                "c.pem",
                "-key",
                "k.pem",
                "-www",
                clients="curl -sk https://127.0.0.1:18892/ | wc -l; echo | openssl s_client -connect 127.0.0.1:18892 2>/dev/null | grep -c BEGIN",
            ),
            step("s_client", "-connect", "127.0.0.1:9"),
        ),
        KEYS,
    ),
    Program(
        "ssh-keygen",
        "/usr/bin/ssh-keygen",
        ("openssh-client",),
        (
            step("-q", "-t", "ed25519", "-N", "", "-f", "k"),
            step("-q", "-t", "rsa", "-b", "1024", "-N", "x", "-f", "k"),
            step("-lf", "/etc/ssh/ssh_host_ed25519_key.pub"),
        ),
    ),
    Program(
        "ssh",
        "/usr/bin/ssh",
        ("openssh-client",),
        (step("-V"), step("-o", "BatchMode=yes", "-p", "9", "127.0.0.1"), step("-G", "localhost")),
    ),
    Program(
        "sshd",
        "/usr/sbin/sshd",
        ("openssh-server",),
        (
            step("-t", "-f", "{d}/c", "-h", "{d}/k"),
            served(
                "-D",
                "-e",
                "-f",
                "{d}/c",
                "-h",
                "{d}/k",
                "-p",
                "18822",
                clients="ssh -i k -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p 18822 root@127.0.0.1 echo in 2>/dev/null; ssh-keyscan -p 18822 127.0.0.1 2>/dev/null | wc -l",
            ),
        ),
        "mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f k; printf 'AuthorizedKeysFile %s/k.pub\\nStrictModes no\\nUsePAM yes\\nPidFile none\\n' $PWD > c",
    ),
    Program(
        "dnsmasq",
        "/usr/sbin/dnsmasq",
        ("dnsmasq-base",),
        (
            step("--test"),
            served(
                "-k",
                "-p",
                "18853",
                "-a",
                "127.0.0.1",
                "-R",
                "-A",
                "/x.test/10.0.0.1",
                "--conf-file=/dev/null",
                "--log-facility=-",
                "-u",
                "root",
                clients="dig +short -p 18853 @127.0.0.1 x.test; dig +tcp +short -p 18853 @127.0.0.1 x.test",
            ),
        ),
    ),
    Program(
        "unbound",
        "/usr/sbin/unbound",
        ("unbound",),
        (
            served(
                "-d",
                "-c",
                "{d}/u.conf",
                clients="dig +short -p 18854 @127.0.0.1 x.test; dig +tcp +short -p 18854 @127.0.0.1 x.test",
            ),
            step("-V"),
        ),
        'printf \'server:\\n interface: 127.0.0.1@18854\\n username: ""\\n chroot: ""\\n directory: "%s"\\n pidfile: ""\\n num-threads: 2\\n use-syslog: no\\n local-data: "x.test. A 10.0.0.1"\\n\' $PWD > u.conf',
    ),
    Program(
        "dig",
        "/usr/bin/dig",
        ("bind9-dnsutils",),
        (
            step("+time=1", "+tries=1", "-p", "9", "@127.0.0.1", "x"),
            step("+tcp", "+time=1", "+tries=1", "-p", "9", "@127.0.0.1", "x"),
            step("-v"),
        ),
    ),
    Program(
        "nginx",
        "/usr/sbin/nginx",
        ("nginx-core",),
        (
            step("-t", "-c", "{d}/n.conf"),
            served("-c", "{d}/n.conf", clients=FETCH.replace("{port}", "18893")),
            step("-V"),
        ),
        "printf 'daemon off; pid %s/pid; error_log %s/e; worker_processes 2; events {} http { access_log %s/a; server { listen 127.0.0.1:18893; root /usr/share/doc/bash; autoindex on; } }' $PWD $PWD $PWD > n.conf",
    ),
    Program(
        "apache2",
        "/usr/sbin/apache2",
        ("apache2-bin",),
        (
            step("-V"),
            served("-X", "-f", "{d}/a.conf", clients=FETCH.replace("{port}", "18894")),
            served("-DFOREGROUND", "-f", "{d}/a.conf", clients=FETCH.replace("{port}", "18894")),
        ),
        "M=/usr/lib/apache2/modules; printf 'ServerName x\\nServerRoot %s\\nListen 127.0.0.1:18894\\nPidFile %s/p\\nErrorLog %s/e\\nLoadModule mpm_event_module '$M'/mod_mpm_event.so\\nLoadModule authz_core_module '$M'/mod_authz_core.so\\nLoadModule cgid_module '$M'/mod_cgid.so\\nLoadModule dir_module '$M'/mod_dir.so\\nLoadModule autoindex_module '$M'/mod_autoindex.so\\nUser www-data\\nGroup www-data\\nDocumentRoot /usr/share/doc/bash\\nScriptSock %s/s\\n' $PWD $PWD $PWD $PWD > a.conf",
        ("/usr/lib/apache2/modules",),
    ),
    Program(
        "lighttpd",
        "/usr/sbin/lighttpd",
        ("lighttpd",),
        (
            step("-tt", "-f", "{d}/l.conf"),
            served("-D", "-f", "{d}/l.conf", clients=FETCH.replace("{port}", "18895")),
        ),
        'printf \'server.document-root="/usr/share/doc/bash"\\nserver.port=18895\\nserver.bind="127.0.0.1"\\nserver.modules=("mod_dirlisting","mod_deflate")\\ndir-listing.activate="enable"\\n\' > l.conf',
        ("/usr/lib/lighttpd",),
    ),
    Program(
        "haproxy",
        "/usr/sbin/haproxy",
        ("haproxy",),
        (
            step("-vv"),
            served(
                "-db",
                "-f",
                "{d}/h.cfg",
                clients="curl -s http://127.0.0.1:18896/stats | wc -l; curl -s http://127.0.0.1:18896/",
            ),
        ),
        "printf 'global\\n nbthread 2\\ndefaults\\n mode http\\n timeout connect 1s\\n timeout client 1s\\n timeout server 1s\\nfrontend f\\n bind 127.0.0.1:18896\\n stats enable\\n stats uri /stats\\n default_backend b\\nbackend b\\n server s 127.0.0.1:9 check\\n' > h.cfg",
    ),
    Program(
        "squid",
        "/usr/sbin/squid",
        ("squid",),
        (
            step("-v"),
            served(
                "-N",
                "-f",
                "{d}/s.conf",
                clients="curl -s -x 127.0.0.1:18897 http://127.0.0.1:9/ | wc -c",
                warmup=2,
            ),
        ),
        "printf 'http_port 127.0.0.1:18897\\nhttp_access allow all\\ncache_mem 8 MB\\npid_filename none\\naccess_log none\\nshutdown_lifetime 0 seconds\\ncache_log %s/c\\ncoredump_dir %s\\n' $PWD $PWD > s.conf",
    ),
    Program(
        "varnishd",
        "/usr/sbin/varnishd",
        ("varnish",),
        (
            step("-V"),
            served(
                "-F",
                "-a",
                "127.0.0.1:18898",
                "-b",
                "127.0.0.1:9",
                "-n",
                "{d}/v",
                clients="curl -s http://127.0.0.1:18898/ | wc -l",
                warmup=4,
            ),
        ),
    ),
    Program(
        "memcached",
        "/usr/bin/memcached",
        ("memcached",),
        (
            served(
                "-u",
                "nobody",
                "-l",
                "127.0.0.1",
                "-p",
                "18899",
                "-t",
                "4",
                clients="printf 'set a 0 0 1\\r\\nb\\r\\nget a\\r\\nstats slabs\\r\\nquit\\r\\n' | timeout 3 bash -c 'exec 3<>/dev/tcp/127.0.0.1/18899; cat >&3; cat <&3' | head -3",
            ),
            step("-h"),
        ),
    ),
    Program(
        "redis-server",
        "/usr/bin/redis-server",
        ("redis-server",),
        (
            served(
                "--port",
                "18900",
                "--dir",
                "{d}",
                "--io-threads",
                "2",
                clients="redis-cli -p 18900 set a b; redis-cli -p 18900 bgsave; redis-cli -p 18900 eval 'return 1' 0",
            ),
        ),
    ),
    Program(
        "redis-cli", "/usr/bin/redis-cli", ("redis-tools",), (step("-p", "9", "ping"), step("--version"))
    ),
    Program(
        "mosquitto",
        "/usr/sbin/mosquitto",
        ("mosquitto",),
        (
            served(
                "-p", "18901", clients="echo | timeout 1 bash -c 'cat > /dev/tcp/127.0.0.1/18901'; echo $?"
            ),
        ),
    ),
    Program(
        "stunnel",
        "/usr/bin/stunnel4",
        ("stunnel4",),
        (
            served(
                "{d}/s.conf",
                clients="echo | timeout 2 openssl s_client -connect 127.0.0.1:18902 2>/dev/null | grep -c BEGIN",
            ),
        ),
        KEYS
        + "; printf 'foreground = yes\\npid =\\n[x]\\naccept = 127.0.0.1:18902\\nconnect = 127.0.0.1:9\\ncert = %s/c.pem\\nkey = %s/k.pem\\n' $PWD $PWD > s.conf",
    ),
    Program(
        "named",
        "/usr/sbin/named",
        ("bind9",),
        (
            step("-V"),
            served(
                "-g",
                "-c",
                "{d}/n.conf",
                "-p",
                "18855",
                clients="dig +short +time=1 +tries=1 -p 18855 @127.0.0.1 localhost; dig +tcp +short +time=1 +tries=1 -p 18855 @127.0.0.1 version.bind ch txt | wc -l",
                warmup=2,
            ),
        ),
        "printf 'options { directory \"%s\"; listen-on port 18855 { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; pid-file none; session-keyfile none; };' $PWD > n.conf",
    ),
    Program(
        "chronyd", "/usr/sbin/chronyd", ("chrony",), (step("-v"), step("-Q", "-t", "1", "server 127.0.0.1"))
    ),
    Program(
        "tcpdump",
        "/usr/bin/tcpdump",
        ("tcpdump",),
        (step("--version"), step("-D"), step("-c1", "-i", "lo"), step("-d", "tcp port 80")),
    ),
    Program(
        "postfix", "/usr/sbin/postfix", ("postfix",), (step("-c", "/etc/postfix", "check"), step("status"))
    ),
    # Databases.
    Program(
        "sqlite3",
        "/usr/bin/sqlite3",
        ("sqlite3",),
        (
            step(
                "t.db",
                "create table t(a);insert into t values(1);pragma journal_mode=wal;insert into t values(2);select * from t;vacuum;",
            ),
            step("-A", "-cf", "x.sqlar", "a"),
            step(":memory:", ".system echo hi", ".shell true"),
        ),
        FILES,
    ),
    Program(
        "postgres",
        "/usr/lib/postgresql/15/bin/postgres",
        ("postgresql-15",),
        (step("--version"), step("-C", "port", "-D", "{d}")),
    ),
    Program(
        "mariadbd",
        "/usr/sbin/mariadbd",
        ("mariadb-server-core",),
        (
            step("--version"),
            step("--no-defaults", "--help", "--verbose"),
            served(
                "--no-defaults",
                "--user=root",
                "--datadir={d}/m",
                "--socket={d}/s",
                "--skip-networking",
                "--skip-grant-tables",
                "--lc-messages-dir=/usr/share/mysql",
                clients="mariadb -S s -e 'create database d; create table d.t(a int); insert into d.t values(1); select * from d.t'",
                warmup=6,
            ),
        ),
        "mkdir m",
    ),
    # System programs.
    Program(
        "ip",
        "/sbin/ip",
        ("iproute2",),
        (step("addr"), step("-j", "route"), step("netns", "list"), step("link", "show", "lo")),
    ),
    Program("ss", "/bin/ss", ("iproute2",), (step("-tlnp"), step("-x"), step("-s"))),
    Program("lsblk", "/bin/lsblk", ("util-linux",), (step(), step("-J"))),
    Program(
        "unshare",
        "/usr/bin/unshare",
        ("util-linux",),
        (step("-m", "true"), step("-Urpf", "--mount-proc", "echo", "x")),
    ),
    Program(
        "setpriv",
        "/usr/bin/setpriv",
        ("util-linux",),
        (step("--dump"), step("--no-new-privs", "--reuid=nobody", "--clear-groups", "id", "-u")),
    ),
    Program(
        "systemd-analyze",
        "/usr/bin/systemd-analyze",
        ("systemd",),
        (
            step("--version"),
            step("calendar", "daily"),
            step("syscall-filter", "@chown"),
            step("timespan", "1h"),
        ),
    ),
    Program("busctl", "/usr/bin/busctl", ("systemd",), (step("--version"), step("list"))),
    Program(
        "gpg",
        "/usr/bin/gpg",
        ("gpg",),
        (
            step("--version"),
            step("--batch", "--list-keys"),
            step("--batch", "--print-md", "sha256", "/etc/hostname"),
            step("--batch", "--enarmor", "/etc/hostname"),
        ),
    ),
    Program(
        "sudo",
        "/usr/bin/sudo",
        ("sudo",),
        (step("-V"), step("-n", "true"), step("-n", "-u", "nobody", "id", "-u")),
    ),
    Program(
        "su", "/bin/su", ("util-linux",), (step("nobody", "-s", "/bin/sh", "-c", "id -u"), step("-c", "true"))
    ),
    Program(
        "ping",
        "/bin/ping",
        ("iputils-ping",),
        (step("-c1", "127.0.0.1"), step("-c2", "-i0.01", "localhost"), step("-V")),
    ),
    Program("ps", "/bin/ps", ("procps",), (step("aux"), step("-eLf"))),
    Program("lsof", "/usr/bin/lsof", ("lsof",), (step("-p", "1"), step("-i", "-n"))),
    Program(
        "tmux",
        "/usr/bin/tmux",
        ("tmux",),
        (step("-V"), step("-L", "shim", "new", "-d", "true"), step("-L", "shim", "ls")),
    ),
    Program(
        "vim",
        "/usr/bin/vim.tiny",
        ("vim-tiny",),
        (
            step("--version"),
            step("-es", "-u", "NONE", "-c", "1d|x", "a"),
            step("-es", "-u", "NONE", "-c", "!echo", "-c", "q!", "a"),
        ),
        FILES,
    ),
    Program(
        "getent",
        "/usr/bin/getent",
        ("libc-bin",),
        (
            step("hosts", "localhost"),
            step("passwd"),
            step("ahosts", "no.such.host.invalid"),
            step("services", "http"),
            step("netgroup", "x"),
            step("group", "adm"),
        ),
    ),
    Program(
        "iconv",
        "/usr/bin/iconv",
        ("libc-bin",),
        (
            step("-f", "latin1", "-t", "utf16", stdin=b"a\xe4"),
            step("-l"),
            step("-f", "EUC-JP", "-t", "UTF-8", stdin=b"\xa4\xa2"),
        ),
    ),
    Program("locale", "/usr/bin/locale", ("libc-bin",), (step("-a"), step("-k", "LC_TIME"))),
    Program("ldconfig", "/sbin/ldconfig", ("libc-bin",), (step("-p"), step("-N", "-X"))),
    Program(
        "bwrap",
        "/usr/bin/bwrap",
        ("bubblewrap",),
        (step("--ro-bind", "/", "/", "--unshare-pid", "echo", "x"), step("--version")),
    ),
    Program(
        "tini-static",
        "/usr/bin/tini-static",
        ("tini",),
        (step("true"), step("sh", "-c", "exit 3"), step("--version")),
    ),
    Program(
        "catatonit",
        "/usr/bin/catatonit",
        ("catatonit",),
        (step("true"), step("sh", "-c", "exit 3"), step("-V")),
    ),
    Program(
        "nft",
        "/usr/sbin/nft",
        ("nftables",),
        (step("list", "ruleset"), step("-v"), step("-c", "add table x")),
    ),
    Program(
        "dumpe2fs",
        "/sbin/mke2fs",
        ("e2fsprogs",),
        (step("-q", "-F", "i", "512"), step("-V")),
        "truncate -s 1M i",
    ),
    # Built here.
    Program(
        "asm-hello",
        "",
        ("nasm",),
        (step(),),
        build="printf 'global _start\\nsection .data\\nm: db \"hi\",10\\nsection .text\\n_start: mov eax,1\\nmov edi,eax\\nlea rsi,[rel m]\\nmov edx,3\\nsyscall\\npush 60\\npop rax\\nxor edi,edi\\nsyscall\\n' > a.asm && nasm -felf64 a.asm && ld a.o -o $OUT",
    ),
    Program(
        "asm-int80",
        "",
        ("nasm",),
        (step(),),
        build="printf 'global _start\\n_start: mov eax,20\\nint 0x80\\nmov eax,60\\nxor edi,edi\\nsyscall\\n' > a.asm && nasm -felf64 a.asm && ld a.o -o $OUT",
    ),
    Program(
        "asm-arith",
        "",
        ("nasm",),
        (step(),),
        build="printf 'global _start\\n_start: xor eax,eax\\nmov al,30\\nadd al,al\\nxor edi,edi\\ncmp byte [rsp],1\\nsete cl\\nmovzx ecx,cl\\nlea rbx,[rax-21]\\ncmovz eax,ebx\\nsyscall\\nmov eax,60\\nsyscall\\n' > a.asm && nasm -felf64 a.asm && ld a.o -o $OUT",
    ),
    Program(
        "asm-vsyscall",
        "",
        ("nasm",),
        (step(),),
        build="printf 'global _start\\n_start: xor edi,edi\\nmov rax,0xffffffffff600400\\ncall rax\\nmov eax,60\\nxor edi,edi\\nsyscall\\n' > a.asm && nasm -felf64 a.asm && ld a.o -o $OUT",
    ),
    Program(
        "c-x32",
        "",
        ("gcc",),
        (step(),),
        build="printf '#include <unistd.h>\\n#include <sys/syscall.h>\\nint main(void){ return syscall(0x40000000|39) > 0 ? 0 : 1; }' > a.c && gcc -O2 -static a.c -o $OUT",
    ),
    Program(
        "c-diet",
        "",
        ("dietlibc-dev",),
        (step(),),
        build=f"printf '{C_SOURCE}' > m.c; diet gcc -Os m.c -o $OUT",
    ),
    Program(
        "c-fortify-cet",
        "",
        ("gcc",),
        (step("{d}"), step("/etc")),
        build='printf \'#include <dirent.h>\\n#include <stdio.h>\\n#include <string.h>\\n#include <pwd.h>\\n#include <netdb.h>\\nint main(int c,char**v){ char b[64]; DIR*d=opendir(v[1]); struct dirent*e; int n=0; while((e=readdir(d))) { strcpy(b,e->d_name); n+=b[0]!=0; } closedir(d); struct passwd*p=getpwnam("nobody"); struct addrinfo*a; getaddrinfo("localhost","80",0,&a); return printf("%%d %%d\\\\n",n>0,p!=0)<0; }\' > a.c && gcc -O2 -D_FORTIFY_SOURCE=3 -fcf-protection=full -fstack-protector-all a.c -o $OUT',
    ),
    Program(
        "c-static-pie-threads",
        "",
        ("gcc",),
        (step(),),
        build="printf '#include <pthread.h>\\n#include <stdio.h>\\n#include <signal.h>\\n#include <unistd.h>\\n#include <spawn.h>\\n#include <sys/wait.h>\\n#include <time.h>\\nstatic void*f(void*x){struct timespec t={0,1000};nanosleep(&t,0);return x;}\\nint main(void){pthread_t t;pthread_create(&t,0,f,0);pthread_cancel(t);pthread_join(t,0);timer_t q;struct sigevent s={.sigev_notify=SIGEV_NONE};timer_create(CLOCK_MONOTONIC,&s,&q);if(!fork())_exit(3);int w;wait(&w);setuid(getuid());printf(\"%%d\\\\n\",w>>8);}' > a.c && gcc -O2 -static-pie a.c -o $OUT",
    ),
    Program(
        "c-musl-threads",
        "",
        ("musl-tools",),
        (step(),),
        build='printf \'#include <pthread.h>\\n#include <stdio.h>\\n#include <unistd.h>\\n#include <semaphore.h>\\n#include <aio.h>\\n#include <mqueue.h>\\n#include <sys/wait.h>\\n#include <stdlib.h>\\nstatic void*f(void*x){return x;}\\nint main(void){pthread_t t;pthread_create(&t,0,f,0);pthread_join(t,0);sem_t s;sem_init(&s,0,1);sem_wait(&s);setgid(0);FILE*p=popen("echo x","r");char b[9];fgets(b,9,p);pclose(p);return puts(b)<0;}\' > a.c && musl-gcc -O2 -static a.c -o $OUT',
    ),
    Program(
        "upx-hello",
        "",
        ("upx-ucl", "gcc"),
        (step(),),
        build=f"printf '{C_SOURCE}' > m.c; gcc -O2 -static m.c -o m && upx -q -o $OUT m",
    ),
    Program(
        "go-cgo-net",
        "",
        ("golang-go",),
        (step(),),
        build='printf \'package main\\nimport ("fmt";"net";"os/user";"os/exec")\\nfunc main(){ a,_:=net.LookupHost("localhost"); u,_:=user.Current(); o,_:=exec.Command("echo","x").Output(); fmt.Println(len(a)>0,u.Username,string(o)) }\' > m.go && GO111MODULE=off GOCACHE=$PWD/c HOME=$PWD go build -o $OUT m.go',
    ),
    Program(
        "fortran",
        "",
        ("gfortran",),
        (step(),),
        build='printf \'program p\\nopen(7,file="f")\\nwrite(7,*) 1\\nclose(7)\\ncall system("true")\\nprint *,2\\nend\\n\' > a.f90 && gfortran a.f90 -o $OUT',
    ),
    Program(
        "ada",
        "",
        ("gnat-12",),
        (step(),),
        build='printf \'with Ada.Text_IO; use Ada.Text_IO;\\nprocedure A is\\n task T; task body T is begin delay 0.01; Put_Line ("t"); end T;\\nbegin\\n Put_Line ("m");\\nend A;\\n\' > a.adb && gnatmake -q a.adb -o $OUT',
    ),
    Program(
        "pascal",
        "",
        ("fp-compiler-3.2.2",),
        (step(),),
        build="printf 'program p; uses sysutils; var f: text; begin assign(f,%sf%s); rewrite(f); writeln(f,1); close(f); writeln(filesize_(1)) end.' x x > /dev/null; echo \"program p; var f: text; begin assign(f,'f'); rewrite(f); writeln(f,1); close(f); writeln(2) end.\" > p.pas && fpc -v0 p.pas -o$OUT >/dev/null 2>&1",
    ),
    Program(
        "rust-std",
        "",
        (),
        (step(),),
        build='printf \'use std::io::Write; use std::net::*; fn main(){ let l=TcpListener::bind("127.0.0.1:0").unwrap(); let a=l.local_addr().unwrap(); let t=std::thread::spawn(move||{ TcpStream::connect(a).unwrap().write_all(b"x").unwrap(); }); l.accept().unwrap(); t.join().unwrap(); println!("{:?}", std::process::Command::new("echo").arg("x").output().unwrap().stdout); std::fs::write("f","x").unwrap(); println!("{:?}", "localhost:80".to_socket_addrs().is_ok()); }\' > m.rs && PATH=$PATH:$HOME/.cargo/bin rustc -O m.rs -o $OUT',
    ),
)
