# What zsh offers behind `jvmbind WORDS...`, one a line: a second zsh is typed to on a terminal of its own, and the function
# with which completions offer what they have is told to print it.
zmodload zsh/zpty
zpty typed zsh -f -i
zpty -w typed 'PROMPT= RPROMPT= ; unsetopt beep; autoload -Uz compinit; fpath=(./zsh/vendor-completions $fpath); compinit -u -D'
zpty -w typed 'compadd() { local -a offered; builtin compadd -O offered "$@"; print -rl -- $offered >> $HOME/offered; builtin compadd "$@" }'
zpty -w typed 'finish() { print done > $HOME/finished }; complete_then_finish() { zle complete-word; finish; zle kill-buffer }'
zpty -w typed 'zle -N complete_then_finish; bindkey "^T" complete_then_finish; rm -f $HOME/offered $HOME/finished; print started > $HOME/started'
until [[ -s $HOME/started ]]; do zpty -r -t typed > /dev/null; done
zpty -w -n typed "jvmbind $*"$'\x14'
until [[ -s $HOME/finished ]]; do zpty -r -t typed > /dev/null; done
rm -f $HOME/started
cat $HOME/offered
