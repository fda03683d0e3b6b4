"""The keys file: read, written, made and taken away, also while a hub serves."""

from __future__ import annotations

import stat
from pathlib import Path

import attrs
import pytest
import trio

from trio_hub import ApiKeyAuth, AuthBlock, AuthError, FunctionAgent, HubClient, Passport, WsLink
from trio_hub.auth import HashedKey, make_key
from trio_hub.cli import file_watch, key_watch
from trio_hub.cli.command import CommandError
from trio_hub.cli.key_file import KeyFile, read_key_file, write_key_file
from trio_hub.cli.key_watch import read_changed_keys, read_keys_of_hub, watch_keys
from trio_hub.cli.main import main
from trio_hub.client import Turn

from ..hub.peer import connected
from .program import PATIENCE_SECONDS, run, running, write_whole

_, KEY = make_key("alice", 0.0)


async def silence(_turn: Turn) -> None:
    return None


# Reading and writing


def test_names_of_any_form_can_have_a_key(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text('alice = "a"\n"team.bob 2" = "b"\nkey = "c"\n')
    read = read_key_file(tmp_path / "keys.toml")
    assert read.plain == {"alice": "a", "team.bob 2": "b", "key": "c"}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    other = attrs.evolve(KEY, key_id="2", expires_at="2026-01-01T00:00:00+00:00")
    content = KeyFile({"bob": 'b"\n'}, [KEY, other])
    write_key_file(tmp_path / "keys.toml", content)
    assert read_key_file(tmp_path / "keys.toml") == content
    assert stat.S_IMODE((tmp_path / "keys.toml").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["keys.toml"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('team.bob = "b"\n', r'quote a name with dots: "team\.bob"'),
        ("alice = 5\n", "alice: expected a string, got a whole number"),
        ('alice = " "\n', "alice: the key is empty"),
        ('[[key]]\nkey_id = "1"\nname = "a"\n', r"\[\[key\]\] number 1: .*sha256"),
        (
            '[[key]]\nkey_id = "1"\nname = "a"\nsha256 = "secret"\ncreated_at = "x"\n',
            "64 hex digits",
        ),
    ],
)
def test_file_with_something_else_is_refused_with_the_place(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "keys.toml").write_text(content)
    with pytest.raises(CommandError, match=said) as caught:
        read_key_file(tmp_path / "keys.toml")
    assert "secret" not in str(caught.value)


def test_two_keys_of_one_id_are_refused(tmp_path: Path) -> None:
    write_key_file(tmp_path / "keys.toml", KeyFile({}, [KEY, KEY]))
    with pytest.raises(CommandError, match=f"two keys have the key_id {KEY.key_id}"):
        read_key_file(tmp_path / "keys.toml")


def test_keys_file_without_keys_is_refused_by_a_hub(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text("# nobody yet\n")
    with pytest.raises(CommandError, match="nobody could connect"):
        read_keys_of_hub(tmp_path / "keys.toml")


def test_hub_that_serves_believes_a_file_that_lists_no_keys_and_no_empty_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keys.toml"
    write_key_file(path, KeyFile())
    assert read_changed_keys(path).is_empty
    path.write_text("")
    with pytest.raises(CommandError, match="nobody could connect"):
        read_changed_keys(path)


# The command


def add(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main(["keys", *map(str, words)]) == 0
    return capsys.readouterr().out.strip()


async def is_accepted(path: Path, name: str, token: str, now: float | None = None) -> bool:
    content = read_key_file(path)
    clock = {} if now is None else {"clock": lambda: now}
    auth = ApiKeyAuth(content.plain, hashed=content.hashed, **clock)
    try:
        await auth.validate(Passport(name=name), {"token": token})
    except AuthError:
        return False
    return True


async def test_added_key_is_printed_once_and_kept_as_a_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    token = add(capsys, "add", "alice", "--keys", path)
    assert token not in path.read_text()
    assert await is_accepted(path, "alice", token)
    assert not await is_accepted(path, "bob", token)
    assert not await is_accepted(path, "alice", token[:-1])
    listed = add(capsys, "list", "--keys", path)
    assert "alice" in listed
    assert token not in listed


async def test_rotation_lets_both_keys_in_until_the_old_one_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    old = add(capsys, "add", "alice", "--keys", path)
    new = add(capsys, "rotate", "alice", "--keys", path, "--grace", "1h")
    assert await is_accepted(path, "alice", old)
    assert await is_accepted(path, "alice", new)
    [first, second] = read_key_file(path).hashed
    assert second.expires_at is None
    late = 4e9
    assert not first.is_valid_at(late)
    assert not await is_accepted(path, "alice", old, late)
    assert await is_accepted(path, "alice", new, late)


async def test_revoked_key_is_gone_and_others_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('bob = "b"\n')
    one = add(capsys, "add", "alice", "--keys", path)
    two = add(capsys, "add", "alice", "--keys", path)
    add(capsys, "revoke", read_key_file(path).hashed[0].key_id, "--keys", path)
    assert not await is_accepted(path, "alice", one)
    assert await is_accepted(path, "alice", two)
    assert await is_accepted(path, "bob", "b")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("revoke", "nothing"), "has no key with the id 'nothing'"),
        (("rotate", "carol"), "has no key of 'carol': use `keys add`"),
        (("rotate", "bob"), "cannot be given an end"),
        (("add", "alice", "--expires", "soon"), "'soon' is no duration"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('bob = "b"\n')
    assert main(["keys", *words, "--keys", str(path)]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1
    assert path.read_text() == 'bob = "b"\n'


# While a hub serves


async def test_file_that_is_none_changes_nothing_and_the_next_good_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('alice = "a"\n')
    auth = ApiKeyAuth(read_key_file(path).plain)
    token = trio.lowlevel.current_trio_token()
    send, outcomes = trio.open_memory_channel[str](10)

    def read(of: Path) -> KeyFile:
        """Read as ever, in the thread that asks, and tell the test what came of it."""
        try:
            content = read_changed_keys(of)
        except CommandError:
            token.run_sync_soon(send.send_nowait, "refused")
            raise
        token.run_sync_soon(send.send_nowait, content.plain["alice"])
        return content

    monkeypatch.setattr(file_watch, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(key_watch, "read_changed_keys", read)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_keys, path, auth)
            assert await outcomes.receive() == "a"
            write_whole(path, "alice = ")
            assert await outcomes.receive() == "refused"
            await auth.validate(Passport(name="alice"), {"token": "a"})
            write_whole(path, 'alice = "other"\n')
            assert await outcomes.receive() == "other"
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    await auth.validate(Passport(name="alice"), {"token": "other"})
    with pytest.raises(AuthError):
        await auth.validate(Passport(name="alice"), {"token": "a"})


@pytest.mark.slow
async def test_hub_that_serves_takes_over_new_and_revoked_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    old = add(capsys, "add", "alice", "--keys", path)

    async def gets_in(url: str, token: str) -> bool:
        passport = Passport(name="alice", auth=AuthBlock(scheme="api_key", claim={"token": token}))
        async with HubClient(WsLink(url), reconnect=None) as client:
            try:
                await client.attach(FunctionAgent("alice", silence), "alice", passport=passport)
            except AuthError:
                return False
            return True

    async with running(tmp_path, "--memory", "--port", "0", "--keys", path) as hub:
        assert await gets_in(hub.url, old)
        new = add(capsys, "add", "alice", "--keys", path)
        add(capsys, "revoke", read_key_file(path).hashed[0].key_id, "--keys", path)
        with trio.fail_after(PATIENCE_SECONDS):
            # It may have looked between the two.
            while await gets_in(hub.url, old):  # noqa: ASYNC110  a file tells nobody
                await trio.sleep(0.1)
        assert await gets_in(hub.url, new)
        assert old not in hub.log
        assert new not in hub.log


@pytest.mark.slow
async def test_agent_whose_only_key_is_revoked_is_told_and_parted_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    token = add(capsys, "add", "alice", "--keys", path)
    auth = {"scheme": "api_key", "claim": {"token": token}}
    async with (
        running(tmp_path, "--memory", "--port", "0", "--keys", path) as hub,
        connected(WsLink(hub.url)) as peer,
    ):
        await peer.request("register", passport={"name": "alice", "auth": auth}, resume={})
        revoke = ("keys", "revoke", read_key_file(path).hashed[0].key_id, "--keys", path)
        assert (await run(*revoke)).status == 0
        assert (await peer.gone()).endswith("the credential was revoked")
        told = await peer.expect("error")
        assert told["code"] == "auth_failed"
        assert "acted for 'alice' was revoked" in told["message"]
        async with connected(WsLink(hub.url)) as again:
            again.send("hello", name="alice", auth_scheme="api_key", auth_claim=auth["claim"])
            assert (await again.expect("error"))["code"] == "auth_failed"


def test_key_does_not_show_itself() -> None:
    token, key = make_key("alice", 0.0)
    assert token not in repr(key)
    assert isinstance(key, HashedKey)
    assert key.sha256 not in repr(key)
