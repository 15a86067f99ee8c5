"""Claims about the command `mtp-hf`."""

import importlib

import pytest

from mtp_hf import cli


@pytest.fixture
def echo(monkeypatch):
    """A subcommand `echo`, called as any other one."""

    class Module:
        @staticmethod
        def add_arguments(parser):
            parser.add_argument("word")
            parser.add_argument("--times", type=int, default=1)

        @staticmethod
        def run(args):
            if args.word == "wrong":
                raise ValueError("not this word")
            print(" ".join([args.word] * args.times))

    monkeypatch.setitem(cli.COMMANDS, "echo", ("tests.echo", "repeat a word"))
    imported = []

    def import_module(name):
        imported.append(name)
        return Module

    monkeypatch.setattr(cli.importlib, "import_module", import_module)
    return imported


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_two_functions(name):
    module = importlib.import_module(cli.COMMANDS[name][0])
    assert callable(module.add_arguments)
    assert callable(module.run)


def test_a_command_gets_its_own_arguments_and_only_it_is_imported(echo, capsys):
    cli.main(["echo", "one", "--times", "2"])
    assert capsys.readouterr().out == "one one\n"
    assert echo == ["tests.echo"]


def test_a_mistake_of_the_user_ends_with_one_message(echo):
    with pytest.raises(SystemExit) as caught:
        cli.main(["echo", "wrong"])
    assert caught.value.code == "error: not this word"


def test_help_lists_the_commands_and_imports_none(echo, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    lines = {tuple(line.split(maxsplit=1)) for line in text.splitlines()}
    assert ("push", "push a finished run to the Hub") in lines
    assert ("echo", "repeat a word") in lines
    assert echo == []


def test_help_of_a_command_is_its_own(echo, capsys):
    with pytest.raises(SystemExit):
        cli.main(["echo", "--help"])
    text = capsys.readouterr().out
    assert "usage: mtp-hf echo" in text
    assert "--times" in text


@pytest.mark.parametrize("arguments", [[], ["pusch"], ["echo", "one", "--tim", "2"]])
def test_an_unknown_word_or_none_is_refused_with_the_usage(echo, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: mtp-hf" in capsys.readouterr().err
