package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/spf13/cobra"

	"drawbridge/internal/config"
	"drawbridge/xmpp/openpgp"
)

// initOptions are the answers given as flags.
type initOptions struct {
	a       config.Answers
	persons []string
	batch   bool
}

func newInit(g *globals) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first configuration",
		Long: `Ask for what a first bridge needs, and write a strict, commented configuration
with its secrets beside it, readable for you only. Nothing is overwritten.

What flags tell is not asked. Passwords are never flags: others could see them
in the list of processes.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return g.initConfig(&o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.a.Server, "server", "", "IRC server, `HOST:PORT`")
	f.StringVar(&o.a.Nick, "nick", "", "`NICK` of the bot")
	f.StringVar(&o.a.Channel, "channel", "", "IRC `CHANNEL`")
	f.StringVar(&o.a.IRCAccount, "irc-account", "", "services `ACCOUNT` of the bot on IRC")
	f.StringVar(&o.a.IRCSecret.File, "irc-password-file", "", "`FILE` with its password")
	f.StringVar(&o.a.JID, "jid", "", "`JID` of the bot")
	f.StringVar(&o.a.XMPPSecret.File, "password-file", "", "`FILE` with the password of that JID")
	f.StringVar(&o.a.Key, "key", "", "`FILE` with the bot's secret OpenPGP key, or \""+config.KeyGenerate+"\"")
	f.StringVar(&o.a.Passphrase.File, "passphrase-file", "", "`FILE` with the passphrase of that key")
	f.StringArrayVar(&o.persons, "person", nil, "a person who reads and writes along, `JID=FINGERPRINT`; may be repeated")
	f.BoolVar(&o.batch, "batch", false, "ask nothing: what no flag tells is an error")
	return cmd
}

func (g *globals) initConfig(o *initOptions) error {
	for _, p := range o.persons {
		jid, fpr, ok := strings.Cut(p, "=")
		if !ok {
			return misused(fmt.Errorf("--person %q has no fingerprint", p), "--person alice@example.org=FINGERPRINT")
		}
		o.a.People = append(o.a.People, config.PersonAnswer{JID: jid, Fingerprint: fpr})
	}
	in := &config.Init{Path: g.config, Answers: o.a, Out: g.err, Generate: generateBotKey}
	if in.Path == "" {
		in.Path = defaultConfigs[0]
	}
	if !o.batch {
		in.In = g.in
		if t := newTerminal(g.in); t != nil {
			in.In = t
			in.ReadSecret = t.readSecret
		}
	}
	if err := os.MkdirAll(filepath.Dir(in.Path), 0o700); err != nil {
		return failed(err, "")
	}
	made, err := in.Run(loadOptions())
	switch {
	case errors.Is(err, config.ErrExists):
		return failed(err, "--config names another file")
	case errors.Is(err, config.ErrAnswers):
		for l := range strings.Lines(err.Error()) {
			sayf(g.err, "%s\n", strings.TrimPrefix(strings.TrimSuffix(l, "\n"), config.ErrAnswers.Error()+": "))
		}
		return misused(errors.New("nothing was written"), "drawbridge init -h; without --batch it asks")
	case err != nil:
		var list config.Errors
		if errors.As(err, &list) {
			printErrors(g.err, list)
			return misused(errors.New("the answers do not make a configuration"), "")
		}
		return failed(err, "")
	}
	g.sayMade(made)
	return nil
}

// sayMade tells what was written, and what comes next.
func (g *globals) sayMade(made *config.Made) {
	for _, f := range made.Files {
		sayln(g.out, f)
	}
	with := ""
	if made.Config != defaultConfigs[0] {
		with = " --config " + made.Config
	}
	sayf(g.err, `
Next:
  drawbridge keys import%[1]s FILE   each person's public key (gpg --export --armor)
  drawbridge keys export%[1]s        the bot's public key: they import it
  drawbridge check%[1]s              is everything right?
  drawbridge doctor%[1]s             does it work with your servers?
  drawbridge run%[1]s
`, with)
	if made.Fingerprint != "" {
		sayf(g.err, "The bot's key has the fingerprint\n  %s\n", spaced(made.Fingerprint))
	}
}

func generateBotKey(jid string) (secret []byte, fingerprint string, err error) {
	bare, _, _ := strings.Cut(jid, "/")
	key, err := openpgp.Generate("", bare, nil, 0, time.Now())
	if err != nil {
		return nil, "", err
	}
	return key.Secret, key.Fingerprint, nil
}

// terminal is a terminal that can hide what is typed.
type terminal struct {
	*bufio.Reader
	fd uintptr
}

// newTerminal returns nil if in is not a terminal.
func newTerminal(in io.Reader) *terminal {
	f, ok := in.(*os.File)
	if !ok {
		return nil
	}
	var t syscall.Termios
	if termios(f.Fd(), syscall.TCGETS, &t) != nil {
		return nil
	}
	return &terminal{bufio.NewReader(f), f.Fd()}
}

// readSecret reads a line that does not show.
func (t *terminal) readSecret() (string, error) {
	var old syscall.Termios
	if err := termios(t.fd, syscall.TCGETS, &old); err != nil {
		return "", err
	}
	hidden := old
	hidden.Lflag &^= syscall.ECHO
	if err := termios(t.fd, syscall.TCSETS, &hidden); err != nil {
		return "", err
	}
	defer func() { _ = termios(t.fd, syscall.TCSETS, &old) }()
	s, err := t.ReadString('\n')
	return strings.TrimRight(s, "\r\n"), err
}

func termios(fd uintptr, request uintptr, t *syscall.Termios) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(t))); errno != 0 {
		return errno
	}
	return nil
}
