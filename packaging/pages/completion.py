"""Completion for bash, zsh and fish, made from the commands' own parsers.

Run by whoever builds a package or runs the tests. Services are those that are configured (/etc/jvmbind/NAME.toml) and those
that run (/run/jvmbind/NAME). What stands behind `--` is for another program and is completed as files are.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from commands import Argument, Command

_MADE = "# Made by packaging/pages from the options of each command; not edited by hand."

_BASH_HEAD = """_jvmbind_services() {
    local path
    for path in /etc/jvmbind/*.toml /run/jvmbind/*/; do
        [ -e "$path" ] || continue
        path=${path%/}
        path=${path##*/}
        path=${path%.toml}
        # compgen -W would run what stands in a name: services have plain ones.
        case $path in [!A-Za-z0-9]* | *[!A-Za-z0-9._-]*) continue ;; esac
        printf '%s\\n' "$path"
    done
}

_jvmbind() {
    local current=${COMP_WORDS[COMP_CWORD]} before="" command=${COMP_WORDS[1]-} offered="" kind="" word
    COMPREPLY=()
    if [ "$COMP_CWORD" -le 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W '@COMMANDS@ --help --version' -- "$current")
        return
    fi
    before=${COMP_WORDS[COMP_CWORD - 1]}
    for word in "${COMP_WORDS[@]:2:COMP_CWORD - 2}"; do
        if [ "$word" = -- ]; then
            compopt -o default 2> /dev/null
            return
        fi
    done
    case $command in
"""
_BASH_TAIL = """        *) compopt -o default 2> /dev/null; return ;;
    esac
    case $kind in
        file) compopt -o filenames 2> /dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        directory) compopt -o filenames 2> /dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        user) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
        group) mapfile -t COMPREPLY < <(compgen -g -- "$current") ;;
        value) ;;
        *)
            case $current in
                -*) ;;
                *) [ "$kind" != service ] || offered=$(_jvmbind_services) ;;
            esac
            mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$current" | sort -u)
            ;;
    esac
}

complete -F _jvmbind jvmbind
"""


def _all_words(command: Command) -> list[str]:
    return [word for option in command.options for word in option.words]


def bash(commands: list[Command]) -> str:
    """Return the file for bash."""
    text = _MADE + "\n\n" + _BASH_HEAD.replace("@COMMANDS@", " ".join(one.name for one in commands))
    for command in commands:
        if not command.arguments:
            text += f"        {command.name}) compopt -o default 2> /dev/null; return ;;\n"
            continue
        text += f"        {command.name})\n            offered={shlex.quote(' '.join(_all_words(command)))}\n"
        if command.positionals:
            text += f"            kind={command.positionals[0].kind}\n"
        text += "            case $before in\n"
        for option in (one for one in command.options if one.value):
            pattern = " | ".join(option.words)
            if option.choices:
                text += f'                {pattern}) offered={shlex.quote(" ".join(option.choices))} kind="" ;;\n'
            else:
                text += f"                {pattern}) kind={option.kind or 'value'} ;;\n"
        text += "            esac\n            ;;\n"
    return text + _BASH_TAIL


_ZSH_KINDS = {
    "file": "_files",
    "directory": "_files -/",
    "user": "_users",
    "group": "_groups",
    "service": "_jvmbind_services",
    "": " ",
}
_ZSH_HEAD = """#compdef jvmbind
@MADE@

_jvmbind_services() {
    local -aU names
    names=(/etc/jvmbind/*.toml(N:t:r) /run/jvmbind/*(N/:t))
    names=(${${names:#[^A-Za-z0-9]*}:#*[^A-Za-z0-9._-]*})
    compadd -a names
}

_jvmbind() {
    local -a commands
    commands=(
@COMMANDS@
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        _arguments : '(- :)'{-h,--help}'[show a summary of the commands]' '(- :)'{-V,--version}'[show the version]'
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
"""


def _zsh_text(text: str) -> str:
    """Return a help text as it may stand in a specification: brackets and colons have a meaning there."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def _zsh_option(option: Argument) -> str:
    value = ""
    if option.value:
        what = f"({' '.join(option.choices)})" if option.choices else _ZSH_KINDS[option.kind]
        value = f":{_zsh_text(option.value)}:{what}"
    others = "*" if option.repeats else f"({' '.join(option.words)})"
    text = f"[{_zsh_text(option.help)}]{value}"
    return " ".join(shlex.quote(f"{others}{word}{text}") for word in option.words)


def zsh(commands: list[Command]) -> str:
    """Return the file for zsh."""
    listed = "\n".join(f"        {shlex.quote(f'{one.name}:{_zsh_text(one.summary)}')}" for one in commands)
    text = _ZSH_HEAD.replace("@MADE@", _MADE).replace("@COMMANDS@", listed)
    for command in commands:
        if not command.arguments:
            text += f"        {command.name}) _files ;;\n"
            continue
        words = [_zsh_option(option) for option in command.options]
        words += [shlex.quote(f":{_zsh_text(one.value)}:{_ZSH_KINDS[one.kind]}") for one in command.positionals]
        if not command.positionals:
            words.append("'*::what is run:_files'")
        text += f"        {command.name})\n            _arguments -S : \\\n"
        text += " \\\n".join(f"                {word}" for word in words) + "\n            ;;\n"
    return text + '    esac\n}\n\n_jvmbind "$@"\n'


_FISH_KINDS = {
    "file": "-r -F",
    "directory": "-x -a '(__fish_complete_directories)'",
    "user": "-x -a '(__fish_complete_users)'",
    "group": "-x -a '(__fish_complete_groups)'",
    "": "-x",
}
_FISH_HEAD = """function __jvmbind_services
    for path in /etc/jvmbind/*.toml /run/jvmbind/*/
        string replace -r '.*/([^/]+?)(\\\\.toml)?/?$' '$1' -- $path
    end
end

complete -c jvmbind -f
complete -c jvmbind -n __fish_use_subcommand -s h -l help -d 'show a summary of the commands'
complete -c jvmbind -n __fish_use_subcommand -s V -l version -d 'show the version'
"""


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish(commands: list[Command]) -> str:
    """Return the file for fish."""
    lines = [_MADE, "", _FISH_HEAD.rstrip()]
    lines += [f"complete -c jvmbind -n __fish_use_subcommand -a {one.name} -d {_fish_text(one.summary)}" for one in commands]
    for one in commands:
        start = f"complete -c jvmbind -n '__fish_seen_subcommand_from {one.name}'"
        lines += [f"{start} {_fish_option(option)}" for option in one.options]
        if any(positional.kind == "service" for positional in one.positionals):
            lines.append(f"{start} -a '(__jvmbind_services)'")
        if not one.positionals or any(positional.kind == "file" for positional in one.positionals):
            lines.append(f"{start} -F")
    return "\n".join(lines) + "\n"


def _fish_option(option: Argument) -> str:
    words = " ".join(f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}" for word in option.words)
    value = ""
    if option.value:
        value = f" -x -a {_fish_text(' '.join(option.choices))}" if option.choices else f" {_FISH_KINDS[option.kind]}"
    return f"{words}{value} -d {_fish_text(option.help)}"


def files(commands: Iterable[Command]) -> dict[str, str]:
    """Return the text of each file by its path, as distributions lay them out below /usr/share."""
    listed = list(commands)
    return {
        "bash-completion/completions/jvmbind": bash(listed),
        "zsh/vendor-completions/_jvmbind": zsh(listed),
        "fish/vendor_completions.d/jvmbind.fish": fish(listed),
    }
