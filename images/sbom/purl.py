"""Package URLs: the one name of a package that all scanners understand."""

from __future__ import annotations

from packageurl import PackageURL

from images.ownership import PackageVersion
from images.packages.package import Ecosystem, Package

SOURCE = "package-url specification, types deb, apk, golang, cargo and generic"


def package_url(package: Package) -> str:
    """
    Return the package URL of a package.

    Source:
        package-url specification, purl-spec and the definitions of its types.  `upstream` is what scanners
        look for beside it, for vulnerabilities are recorded by source packages.
    """
    namespace, name = package.distribution, package.name
    qualifiers: dict[str, str] = {}
    if package.ecosystem is Ecosystem.GO:
        namespace, _, name = package.name.rpartition("/")
    if package.arch:
        qualifiers["arch"] = package.arch
    if package.distribution:
        qualifiers["distro"] = "-".join(filter(None, (package.distribution, package.release)))
    source = package.source
    if source is not None and (source.name, source.version) != (package.name, package.version):
        same = source.version == package.version
        qualifiers["upstream"] = source.name if same else f"{source.name}@{source.version}"
    version = package.version
    if package.ecosystem is Ecosystem.GO and name != "stdlib" and version[:1].isdigit() and "." in version:
        version = f"v{version}"
    url = PackageURL(str(package.ecosystem), namespace or None, name, version or None, qualifiers or None)
    return str(url.to_string())


def url_of(one: PackageVersion) -> str:
    """Return the package URL of a package of which a manifest has name and version."""
    ecosystem = Ecosystem(one.ecosystem)
    return package_url(Package(ecosystem, one.name, one.version, one.arch, one.distribution, one.release))
