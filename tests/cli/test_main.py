"""What is typed: found out before anything is served, and answered in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_hub import __version__
from trio_hub.cli import main
from trio_hub.cli.main import COMMANDS

from .program import run

SECRET = "s3cr3t-of-alice"


def complaint(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([*map(str, words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("trio_hub: ")
    return line


async def test_a_bad_flag_ends_the_process_with_one_line_and_status_2() -> None:
    assert "--prot" in (await run("--prot", "0")).complaint


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("serve", "--prot", "0"), "--prot"),
        (("--port", "high"), "--port"),
        (("--port", "65536"), "--port"),
        (("--host", ""), "--host"),
        (("--log-level", "loud"), "--log-level"),
        (("--memory", "--data", "x"), "--data"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
        (("--keys", "nowhere.toml"), "nowhere.toml"),
        (("--keys", "."), "directory"),
        (("--tls-cert", "nowhere.pem"), "nowhere.pem"),
        (("--tls-key", "key.pem"), "--tls-cert"),
        (("sreve",), "sreve"),
        (("--operator", "ops"), "--keys"),
        (("--operator", ""), "--operator"),
        (("dead-letters", "list"), "--name"),
        (("dead-letters", "raed", "--name", "ops"), "raed"),
        (("dead-letters", "read", "--name", "ops"), "envelope"),
        (("dead-letters", "replay", "--name", "ops", "--all", "x"), "--all"),
        (("dead-letters", "list", "--name", "ops", "--limit", "0"), "--limit"),
        (("dead-letters", "list", "--name", "ops", "--key-file", "nowhere"), "nowhere"),
        (("health", "--name", "ops", "--url", "http://x"), "--url"),
        (("health", "--name", "ops", "--tls-ca", "nowhere.pem"), "nowhere.pem"),
        (("demo", "--patience", "much"), "--patience"),
        (("demo", "--patience", "-1"), "--patience"),
        (("--memory", "--port", "0", "--host", "no-such-host.invalid"), "no-such-host.invalid"),
        (("--memory", "--port", "0", "--host", "a..b"), "a..b"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_said_in_one_line(
    words: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in complaint(capsys, *words)


def test_a_certificate_that_is_none_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    assert str(tmp_path / "cert.pem") in complaint(capsys, "--tls-cert", tmp_path / "cert.pem")


def test_no_key_is_shown_where_a_keys_file_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(f'alice = ["{SECRET}"]\nbob = 3\ncarol = ""\ndave = "{SECRET}"\n')
    said = complaint(capsys, "--keys", path)
    assert all(name in said for name in ("alice", "bob", "carol"))
    assert "dave" not in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "words", [(), *((command.name,) for command in COMMANDS)], ids=lambda words: " ".join(words)
)
def test_help_is_there_for_every_command(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: trio_hub")
    assert "options:" in shown
    if not words:
        assert all(one.name in shown.split() and one.summary[:20] in shown for one in COMMANDS)


async def test_version_is_that_of_the_package() -> None:
    ended = await run("--version")
    assert (ended.status, ended.stdout) == (0, f"trio_hub {__version__}\n")
