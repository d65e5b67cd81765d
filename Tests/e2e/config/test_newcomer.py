"""What a newcomer gets wrong in the first ten lines: each mistake is refused with the line it is on, and a message that says what to do.

Each row is a mistake: what stands in the good file, what the newcomer wrote instead, the line, and a part of the message.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.gateway import ctl
from support.tls import Authority, Certificate

GOOD = """{
    "listeners": [
        {"host": "0.0.0.0", "port": 8443, "tls": {"certificates": [
            {"cert_file": "CHAIN", "key_file": "KEY"}]}}
    ],
    "rate_limit": {"enabled": true, "zones": [
        {"name": "per-client", "rate": 10, "capacity": 20, "key_type": "client_ip"}]},
    "upstreams": [{"name": "app", "host": "127.0.0.1", "port": 3000, "proxy": {"route_prefix": "/api"}}],
    "routes": [{"path": "/", "redirect": {"to": "/api/"}}]
}
"""

MISTAKES = [
    ('"listeners": [', '"listener": [',
     2, 'unknown key "listener" in the top level; did you mean "listeners"?'),
    ('"host": "0.0.0.0"', '"host": "0.0.0.0:8443"',
     3, 'listeners[0].host is not a host name or IP address: "0.0.0.0:8443" is not an IPv6 address, and a port has a key of its own'),
    ('"host": "0.0.0.0"', '"host": "*"',
     3, 'listeners[0].host is not a host name or IP address: "*" contains characters other than letters, digits, "-" and "."'),
    ('"host": "0.0.0.0"', '"host": ""',
     3, 'listeners[0] needs "host" and "port", or "unix"'),
    ('"host": "0.0.0.0", ', '',
     3, 'listeners[0] needs "host" and "port", or "unix"'),
    ('"port": 8443', '"port": "8443"',
     3, 'listeners[0].port must be a whole number, without quotes and leading zeros (found the text "8443")'),
    ('"port": 8443', '"port": 84433',
     3, 'listeners[0].port must be between 0 and 65535 (found 84433)'),
    ('"port": 8443', '"port": -1',
     3, 'listeners[0].port must be between 0 and 65535 (found -1)'),
    ('"port": 8443', '"prot": 8443',
     3, 'unknown key "prot" in listeners[0]; did you mean "port"?'),
    ('"port": 8443, ', '',
     3, 'listeners[0] needs "host" and "port", or "unix"'),
    ('"port": 8443, ', '"port": 8443 ',
     3, "not valid JSON or YAML: did not find expected ',' or '}'"),
    ('"tls": {"certificates": [\n            {"cert_file": "CHAIN", "key_file": "KEY"}]}', '"tls": true',
     3, 'listeners[0].tls must be an object (found true)'),
    ('"tls": {"certificates"', '"ssl": {"certificates"',
     3, 'did you mean "tls"?'),
    ('"certificates": [', '"certificate": [',
     3, 'unknown key "certificate" in listeners[0].tls; did you mean "certificates"?'),
    ('[\n            {"cert_file": "CHAIN", "key_file": "KEY"}]', '[]',
     3, 'listeners[0].tls needs at least one element of "certificates"'),
    ('"cert_file": "CHAIN"', '"cert": "CHAIN"',
     4, 'unknown key "cert" in listeners[0].tls.certificates[0]; did you mean "cert_file"?'),
    ('"cert_file": "CHAIN"', '"cert_file": "/no/such/chain.pem"',
     4, 'listeners[0].tls.certificates[0].cert_file "/no/such/chain.pem" cannot be read: No such file or directory'),
    ('"key_file": "KEY"', '"key_file": "CHAIN"',
     4, 'has no private key that can be read (PEM is expected)'),
    ('"cert_file": "CHAIN"', '"cert_file": "KEY"',
     4, 'has no certificate that can be read (PEM is expected)'),
    (', "key_file": "KEY"', '',
     4, 'listeners[0].tls.certificates[0] needs "key_file"'),
    ('"key_file": "KEY"', '"key_file": "OTHER"',
     4, 'listeners[0].tls.certificates[0].key_file'),
    ('"cert_file": "CHAIN"', '"cert_file": "EXPIRED"',
     4, 'listeners[0].tls.certificates[0].key_file'),
    ('"KEY"}]', '"KEY"}}',
     4, "not valid JSON or YAML: did not find expected ',' or ']'"),
    ('"rate_limit": {"enabled"', '"ratelimit": {"enabled"',
     6, 'unknown key "ratelimit" in the top level; did you mean "rate_limit"?'),
    ('"enabled": true', '"enabled": "yes"',
     6, 'rate_limit.enabled must be true or false (found the text "yes")'),
    ('"enabled": true', '"enabled": 1',
     6, 'rate_limit.enabled must be true or false (found 1)'),
    ('"zones": [', '"zone": [',
     6, 'unknown key "zone" in rate_limit; did you mean "zones"?'),
    ('"name": "per-client", ', '',
     7, 'rate_limit.zones[0] needs "name"'),
    ('"name": "per-client"', '"name": ""',
     7, 'rate_limit.zones[0].name must not be empty'),
    ('"rate": 10', '"rate": "10/s"',
     7, 'rate_limit.zones[0].rate must be a number (found the text "10/s")'),
    ('"rate": 10', '"rate": 0',
     7, 'rate_limit.zones[0].rate must be between 0.001 and 1000000000 (found 0)'),
    ('"rate": 10', '"rate": -5',
     7, 'rate_limit.zones[0].rate must be between 0.001 and 1000000000 (found -5)'),
    ('"rate": 10, ', '',
     7, 'rate_limit.zones[0] needs "rate"'),
    ('"rate": 10', '"requests_per_second": 10',
     7, 'unknown key "requests_per_second" in rate_limit.zones[0]; did you mean "rate"?'),
    ('"capacity": 20', '"burst": 20',
     7, 'unknown key "burst" in rate_limit.zones[0]; did you mean "capacity"?'),
    ('"capacity": 20', '"capacity": 0',
     7, 'rate_limit.zones[0].capacity must be between 1 and 1000000000000 (found 0)'),
    ('"capacity": 20', '"capacity": 2.5',
     7, 'rate_limit.zones[0].capacity must be a whole number (found 2.5)'),
    ('"key_type": "client_ip"', '"key_type": "ip"',
     7, 'rate_limit.zones[0].key_type has no part "ip" (parts: client_ip, path, header:NAME, cookie:NAME, param:NAME, tls_subject, joined by +)'),
    ('"key_type": "client_ip"', '"key": "client_ip"',
     7, 'rate_limit.zones[0] needs "key_type"'),
    ('"key_type": "client_ip"', '"key_type": "header"',
     7, 'rate_limit.zones[0].key_type has no part "header" (parts: client_ip, path, header:NAME, cookie:NAME, param:NAME, tls_subject, joined by +)'),
    ('"client_ip"}]', '"client_ip"}, {"name": "per-client", "rate": 1, "capacity": 1, "key_type": "path"}]',
     7, 'rate_limit.zones[1].name repeats "per-client" of rate_limit.zones[0].name (line 7, column 18)'),
    ('"upstreams": [{', '"upstream": [{',
     8, 'unknown key "upstream" in the top level; '),
    ('"upstreams": [{"name"', '"upstreams": {"name"',
     8, "not valid JSON or YAML: did not find expected ',' or '}'"),
    ('"name": "app", ', '',
     8, 'upstreams[0] needs "name"'),
    ('"host": "127.0.0.1"', '"host": "http://127.0.0.1"',
     8, 'upstreams[0].host is not a host name or IP address: "http://127.0.0.1" contains a path or scheme'),
    ('"host": "127.0.0.1"', '"host": "127.0.0.1:3000"',
     8, 'upstreams[0].host is not a host name or IP address: "127.0.0.1:3000" is not an IPv6 address, and a port has a key of its own'),
    ('"host": "127.0.0.1"', '"host": "my app"',
     8, 'upstreams[0].host is not a host name or IP address: "my app" contains characters other than letters, digits, "-", "_" and "."'),
    ('"host": "127.0.0.1", ', '',
     8, 'upstreams[0] needs "host" or "endpoints"'),
    ('"port": 3000', '"port": 0',
     8, 'upstreams[0].port must be between 1 and 65535 (found 0)'),
    ('"port": 3000', '"port": 3000.5',
     8, 'upstreams[0].port must be a whole number (found 3000.5)'),
    ('"proxy": {"route_prefix"', '"proxy": {"prefix"',
     8, 'unknown key "prefix" in upstreams[0].proxy; did you mean "route_prefix"?'),
    ('"route_prefix": "/api"', '"route_prefix": "api"',
     8, 'upstreams[0].proxy.route_prefix "api" is not a path pattern: it must begin with "/"'),
    ('"route_prefix": "/api"', '"route_prefix": ["/api"]',
     8, 'upstreams[0].proxy.route_prefix must be text (found a list)'),
    ('"route_prefix": "/api"', '"route_prefix": "/api", "timeout": 30',
     8, 'unknown key "timeout" in upstreams[0].proxy; did you mean "timeout_ms"?'),
    ('"route_prefix": "/api"', '"route_prefix": "/api", "response_timeout_ms": "30 seconds"',
     8, 'upstreams[0].proxy.response_timeout_ms must be a whole number of milliseconds, or text with a unit such as "250ms" or "30s" (found the text "30 seconds")'),
    ('"route_prefix": "/api"', '"route_prefix": "/api", "strip_prefix": "true"',
     8, 'upstreams[0].proxy.strip_prefix must be true or false (found the text "true")'),
    ('"route_prefix": "/api"}', '"route_prefix": "/api"',
     8, "not valid JSON or YAML: did not find expected ',' or '}'"),
    ('"routes": [{', '"route": [{',
     9, 'unknown key "route" in the top level; did you mean "routes"?'),
    ('"path": "/"', '"path": ""',
     9, 'routes[0].path "" is not a path pattern: it must begin with "/"'),
    ('"path": "/"', '"path": "/:"',
     9, 'routes[0].path "/:" is not a path pattern: the parameter has no name (character 3)'),
    ('"path": "/"', '"path": "/:id(["',
     9, 'routes[0].path "/:id([" is not a path pattern: the constraint\'s "(" has no ")" (character 5)'),
    ('"path": "/", ', '',
     9, 'routes[0] needs "path"'),
    ('"redirect": {"to": "/api/"}', '"redirect": "/api/"',
     9, 'routes[0].redirect must be an object (found the text "/api/")'),
    ('"redirect": {"to": "/api/"}', '"redirect": {"to": "/api/", "status": 200}',
     9, 'routes[0].redirect.status must be one of 301, 302, 303, 307, 308 (found 200)'),
    ('"redirect": {"to": "/api/"}', '"redirect": {"url": "/api/"}',
     9, 'unknown key "url" in routes[0].redirect; did you mean "to"?'),
    ('"redirect": {"to": "/api/"}', '"redirect": {"to": "/{pth}"}',
     9, 'routes[0].redirect.to "/{pth}": {pth} is neither a capture of the route nor a '),
    ('"redirect": {"to": "/api/"}', '"upstream": "ap"',
     9, 'routes[0] ("/") names upstream "ap", which is not defined (defined: app); did you mean "app"?'),
    ('"redirect": {"to": "/api/"}', '"respond": {"status": 99}',
     9, 'routes[0].respond.status must be between 200 and 599 (found 99)'),
    ('"redirect": {"to": "/api/"}', '"redirect": {"to": "/api/"}, "upstream": "app"',
     9, 'routes[0] ("/") has upstream and redirect, but may have only one of '),
    ('{"path": "/", "redirect": {"to": "/api/"}}', '{"path": "/", "redirect": {"to": "/api/"}}, {"path": "/", "upstream": "app"}',
     9, 'routes[1].path "/" takes the same requests as routes[0].path at line 9, column 25 (GET)'),
    ('"path": "/",', '"path": "/", "methods": ["FETCH"],',
     9, 'routes[0].methods[0] has no method "FETCH" (methods: GET POST PUT DELETE PATCH HEAD OPTIONS TRACE); did you mean "PATCH"?'),
    ('"path": "/",', '"path": "/", "hosts": ["https://example.com"],',
     9, 'routes[0].hosts[0] is not a host name or "*." and a host name: "https://example.com" contains a path or scheme'),
    ('"path": "/",', '"path": "/", "hosts": ["*example.com"],',
     9, 'routes[0].hosts[0] is not a host name or "*." and a host name: "*example.com" contains characters other than letters, digits, "-" and "."'),
    ('/api/"}}]\n}\n', '/api/"}}]\n',
     10, "not valid JSON or YAML: did not find expected ',' or '}'"),
    ('    "rate_limit"', '    "workers": "auto",\n    "rate_limit"',
     6, 'workers must be a whole number (found the text "auto")'),
    ('    "rate_limit"', '    // a comment\n    "rate_limit"',
     7, 'comments begin with "#"'),
    ('    "rate_limit"', '    "log": "/var/log/x.log",\n    "rate_limit"',
     6, 'log must be an object (found the text "/var/log/x.log")'),
    ('    "rate_limit"', '    "log": {"level": "verbose"},\n    "rate_limit"',
     6, 'log.level must be one of "trace", "debug", "info", "warn", "error", "critical" (found the text "verbose")'),
    ('    "rate_limit"', '    "bind_port": 80,\n    "bind_port": 81,\n    "rate_limit"',
     7, 'key "bind_port" is given twice; the first is at line 6, column 5'),
    ('    "rate_limit"', '    "idle_timeout_sec": "5 min",\n    "rate_limit"',
     6, 'idle_timeout_sec must be a whole number of seconds, or text with a unit such as "250ms" or "30s" (found the text "5 min")'),
    ('    "rate_limit"', '    "max_body_size": "10 megabytes",\n    "rate_limit"',
     6, 'max_body_size must be a whole number of bytes, or text with a unit such as "16KiB" (found the text "10 megabytes")'),
    ('    "rate_limit"', '    "access_log": {"enabled": true, "format": "nginx"},\n    "rate_limit"',
     6, 'access_log.format must be "json", "combined", or a format with variables such as $status (found "nginx")'),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    site, other = authority.issue("site.test"), authority.issue("other.test")
    expired: Certificate = authority.issue("expired.test", file="expired")
    return {"CHAIN": str(site.chain), "KEY": str(site.key), "OTHER": str(other.key), "EXPIRED": str(expired.chain)}


def written(path: Path, text: str, files: dict[str, str]) -> str:
    for name, file in files.items():
        text = text.replace(f'"{name}"', f'"{file}"')
    path.write_text(text)
    return text


def test_the_good_file_is_good(tmp_path: Path, files: dict[str, str]) -> None:
    path = tmp_path / "gateway.json"
    written(path, GOOD, files)
    done = ctl("validate", "-c", str(path))
    assert done.returncode == 0 and "error" not in done.stderr, done.stderr


def test_there_are_enough_of_them() -> None:
    assert len(MISTAKES) >= 60 and len(GOOD.strip().splitlines()) <= 12


@pytest.mark.parametrize(("right", "wrong", "line", "message"), MISTAKES, ids=[f"{number}-{row[1].strip()[:40]}" for number, row in enumerate(MISTAKES)])
def test_a_mistake_is_named_with_its_line(tmp_path: Path, files: dict[str, str], right: str, wrong: str, line: int, message: str) -> None:
    assert right in GOOD
    path = tmp_path / "gateway.json"
    written(path, GOOD.replace(right, wrong, 1), files)
    done = ctl("validate", "-c", str(path))
    assert done.returncode == 1
    assert any(found.startswith(f"{path}:{line}:") and message in found for found in done.stderr.splitlines()), done.stderr
