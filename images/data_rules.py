"""
Which data files belong to which use: certificates, time zones, accounts, names of hosts, character sets.

A table of facts about libraries, and the questions that decide.  `images.data` asks them of one program.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataRule:
    """
    A file that a C library reads for some of its functions.

    Attributes:
        rule: The word in the manifest.
        path: The file; code that can run has to name it.
        functions: One of these has to run as well, where a C library of its own names the file: the name
            services are one table, so that every use of one brings all their paths.
    """

    rule: str
    path: str
    functions: frozenset[str]


def _of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ACCOUNTS = _of("getpwnam getpwnam_r getpwuid getpwuid_r getpwent getpwent_r setpwent cuserid")
_GROUPS = _of("getgrnam getgrnam_r getgrgid getgrgid_r getgrent getgrent_r setgrent getgrouplist initgroups")
_HOSTS = _of(
    "getaddrinfo getnameinfo gethostbyname gethostbyname2 gethostbyname_r gethostbyname2_r gethostbyaddr "
    "gethostbyaddr_r gethostent gethostent_r sethostent"
)
_RESOLVER = _HOSTS | _of(
    "res_init __res_init res_ninit __res_ninit res_query res_search res_nquery res_nsearch __res_query "
    "__res_search __res_nquery __res_nsearch"
)
_SERVICES = _of(
    "getaddrinfo getnameinfo getservbyname getservbyname_r getservbyport getservbyport_r getservent "
    "getservent_r setservent"
)
_PROTOCOLS = _of(
    "getprotobyname getprotobyname_r getprotobynumber getprotobynumber_r getprotoent getprotoent_r"
)
_NETWORKS = _of("getnetbyname getnetbyname_r getnetbyaddr getnetbyaddr_r getnetent getnetent_r")

# nsswitch.conf(5), resolv.conf(5), host.conf(5), gai.conf(5); musl 1.2.5, src/network and src/passwd.
RULES = (
    DataRule("accounts", "/etc/passwd", _ACCOUNTS),
    DataRule("accounts", "/etc/group", _GROUPS),
    DataRule("host-names", "/etc/hosts", _HOSTS),
    DataRule("host-names", "/etc/resolv.conf", _RESOLVER),
    DataRule("host-names", "/etc/host.conf", _HOSTS),
    DataRule("host-names", "/etc/gai.conf", _of("getaddrinfo")),
    DataRule("service-names", "/etc/services", _SERVICES),
    DataRule("service-names", "/etc/protocols", _PROTOCOLS),
    DataRule("service-names", "/etc/networks", _NETWORKS),
    DataRule("name-services", "/etc/nsswitch.conf", _ACCOUNTS | _GROUPS | _RESOLVER | _SERVICES | _PROTOCOLS),
    DataRule("local-time", "/etc/localtime", frozenset()),
    DataRule("media-types", "/etc/mime.types", frozenset()),
    DataRule("loader", "/etc/ld-musl-x86_64.path", frozenset()),
)
# How names end that TLS libraries look for certificates and their own settings by: OpenSSL 3.0,
# include/internal/common.h; GnuTLS 3.7 and curl 7.88 as distributions configure them; the list of Go.
CERTIFICATES = (
    "/ca-certificates.crt",
    "/ca-bundle.crt",
    "/ca-bundle.pem",
    "/tls-ca-bundle.pem",
    "/cacert.pem",
    "/cert.pem",
    "/ssl/certs",
    "/tls/certs",
)
TLS_SETTINGS = ("/openssl.cnf", "/gnutls/config")
# OpenSSL 3.0, crypto/conf/conf_mod.c, CONF_get1_default_config_file, puts openssl.cnf behind one of these.
OPENSSL_DIRECTORIES = ("/ssl", "/pki/tls")
# Never taken because code names them: what they hold is secret, and --include says so on purpose.
SECRET = ("/etc/shadow", "/etc/gshadow", "/etc/ssl/private", "/etc/sasldb2", "/etc/krb5.keytab")
ZONES = "/usr/share/zoneinfo"
LOCALES, LOCALE_ARCHIVE = "/usr/lib/locale", "/usr/lib/locale/locale-archive"
TERMINALS = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo")
# glibc builds these in; C.UTF-8 since 2.35.
BUILT_IN_LOCALES = frozenset({"", "C", "POSIX"})
# They convert between Unicode and the character set of the locale, for names of hosts, and no other: libidn2
# 2.3, lib/lookup.c; libunistring 1.0, lib/striconveh.c, of which other users name their sets to it.
# libstdc++ converts for users of its extension encoding_state alone.
LOCALE_CONVERTERS = ("libunistring.so", "libidn2.so", "libidn.so", "libstdc++.so")
C_LIBRARIES = ("libc.so", "libc-2.", "libc.musl-", "ld-musl-")
