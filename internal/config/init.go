package config

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// Answers are what `drawbridge init` asks, or takes from its flags.
type Answers struct {
	Server     string   // IRC server, HOST or HOST:PORT
	Nick       string   // the bot's nick
	Channel    string   // "#dev"
	IRCAccount string   // services account; "" logs in to none
	IRCSecret  Password // its password
	JID        string   // the bot's JID
	XMPPSecret Password // its password
	Key        string   // file with the bot's secret key, or KeyGenerate
	Passphrase Password // the key's; none if zero
	People     []PersonAnswer
}

// Password is a password as it was typed, or the file that has it.
type Password struct {
	Text Secret
	File string
}

// PersonAnswer is one person who meets the bridge.
type PersonAnswer struct{ JID, Fingerprint string }

// KeyGenerate, as the answer for the key, has one made.
const KeyGenerate = "generate"

// Init writes a first configuration.
type Init struct {
	Path    string  // the file to write; it must not be there yet
	Answers Answers // what is known already, and not asked
	// In and Out are the dialog. A nil In asks nothing: what is missing in
	// Answers is an error then.
	In  io.Reader
	Out io.Writer
	// ReadSecret reads a line that does not show; nil reads it from In.
	ReadSecret func() (string, error)
	// Generate makes the bot's key for jid, armored; nil cannot.
	Generate func(jid string) (secret []byte, fingerprint string, err error)
}

// Made is what Init.Run wrote.
type Made struct {
	Config      string   // the configuration
	Files       []string // all files, the configuration last
	KeysDir     string   // the folder for people's public keys
	Fingerprint string   // of a generated key, "" if none was
}

// ErrAnswers is wrapped by the error of Init.Run about wrong or missing answers.
var ErrAnswers = errors.New("init: answers")

// Run asks what is not known yet, each question until the answer is good, and
// writes the configuration and its secrets, readable for this user only. What it
// writes passes Load; if anything fails, nothing of it stays. The error wraps
// ErrExists if the file is there already. opt is for that
// last check.
func (in *Init) Run(opt Options) (*Made, error) {
	w, err := NewFiles(in.Path)
	if err != nil {
		return nil, err
	}
	a := in.Answers
	if err := in.ask(&a); err != nil {
		return nil, err
	}
	made, err := in.write(w, &a, opt)
	if err != nil {
		w.Undo()
		return nil, err
	}
	return made, nil
}

// question is one thing that init asks.
type question struct {
	text, hint string // hint: what an empty answer means
	flag       string // that answers it beforehand
	secret     bool
	value      func(a *Answers) *string
	// check returns the answer in its canonical form.
	check func(in *Init, s string) (string, *badValue)
	// skip leaves the question out.
	skip func(a *Answers) bool
}

func optional(check func(in *Init, s string) (string, *badValue)) func(*Init, string) (string, *badValue) {
	return func(in *Init, s string) (string, *badValue) {
		if s == "" {
			return s, nil
		}
		return check(in, s)
	}
}

var questions = []question{
	{
		text: "IRC server", flag: "--server", hint: "HOST:PORT; TLS, port 6697 if none is given",
		value: func(a *Answers) *string { return &a.Server },
		check: func(_ *Init, s string) (string, *badValue) {
			if _, _, err := net.SplitHostPort(s); err != nil && s != "" && !strings.Contains(s, ":") {
				s += ":6697"
			}
			return parseAddr(s)
		},
	},
	{
		text: "Nick of the bot", flag: "--nick", hint: "empty: drawbridge",
		value: func(a *Answers) *string { return &a.Nick },
		check: func(_ *Init, s string) (string, *badValue) {
			if s == "" {
				s = "drawbridge"
			}
			return parseNick(s)
		},
	},
	{
		text: "IRC channel", flag: "--channel", hint: "as #dev",
		value: func(a *Answers) *string { return &a.Channel },
		check: func(_ *Init, s string) (string, *badValue) {
			if goodName(s) {
				s = "#" + s
			}
			return parseChannel(s)
		},
	},
	{
		text: "Services account of the bot on IRC", flag: "--irc-account", hint: "empty: it has none",
		value: func(a *Answers) *string { return &a.IRCAccount },
		check: optional(func(_ *Init, s string) (string, *badValue) { return parseWord(s) }),
	},
	{
		text: "Password of that account", flag: "--irc-password-file", secret: true,
		value: func(a *Answers) *string { return &a.IRCSecret.Text.value },
		check: checkPassword,
		skip:  func(a *Answers) bool { return a.IRCAccount == "" || a.IRCSecret.File != "" },
	},
	{
		text: "JID of the bot", flag: "--jid", hint: "an account of its own, as bridge@example.org",
		value: func(a *Answers) *string { return &a.JID },
		check: func(_ *Init, s string) (string, *badValue) { return parseJID(s) },
	},
	{
		text: "Password of that JID", flag: "--password-file", secret: true,
		value: func(a *Answers) *string { return &a.XMPPSecret.Text.value },
		check: checkPassword,
		skip:  func(a *Answers) bool { return a.XMPPSecret.File != "" },
	},
	{
		text: "OpenPGP key of the bot", flag: "--key", hint: "file of gpg --export-secret-keys; empty: make one",
		value: func(a *Answers) *string { return &a.Key },
		check: checkKeyAnswer,
	},
	{
		text: "Passphrase of that key", flag: "--passphrase-file", hint: "empty: it has none", secret: true,
		value: func(a *Answers) *string { return &a.Passphrase.Text.value },
		check: optional(checkPassword),
		skip:  func(a *Answers) bool { return a.Key == KeyGenerate || a.Passphrase.File != "" },
	},
}

func checkPassword(_ *Init, s string) (string, *badValue) {
	if s == "" || strings.ContainsAny(s, "\x00\r\n") {
		return "", bad("", "a password is one line")
	}
	return s, nil
}

func checkKeyAnswer(in *Init, s string) (string, *badValue) {
	if s == "" || s == KeyGenerate {
		if in.Generate == nil {
			return "", bad("name the file of a secret key", "no key can be made here")
		}
		return KeyGenerate, nil
	}
	data, mode, err := readFile(s, maxKey)
	switch {
	case err != nil:
		return "", fileProblem(err)
	case len(data) == 0:
		return "", bad("", "%s is empty", clip(s))
	case mode.Perm()&0o077 != 0:
		return "", bad("chmod 600 "+clip(s), "%s is open to others (mode %04o)", clip(s), mode.Perm())
	}
	return s, nil
}

// ask fills in a. Answers given beforehand are checked like typed ones.
func (in *Init) ask(a *Answers) error {
	d := dialog{in: in}
	if in.In != nil {
		d.r = bufio.NewReader(in.In)
	}
	var wrong []error
	for _, q := range questions {
		if q.skip != nil && q.skip(a) {
			continue
		}
		v := q.value(a)
		err := d.settle(q, v)
		if err != nil && !errors.Is(err, ErrAnswers) {
			return err
		}
		wrong = append(wrong, err)
	}
	wrong = append(wrong, d.people(a))
	return errors.Join(wrong...)
}

type dialog struct {
	in *Init
	r  *bufio.Reader // nil: nobody is there to be asked
}

// settle makes *v a good answer to q.
func (d *dialog) settle(q question, v *string) error {
	given := *v != ""
	for {
		s := *v
		if !given && d.r != nil {
			var err error
			if s, err = d.read(q); err != nil {
				return err
			}
		}
		good, wrong := q.check(d.in, s)
		if wrong == nil {
			*v = good
			return nil
		}
		if given || d.r == nil {
			return fmt.Errorf("%w: %s", ErrAnswers, q.complaint(s, wrong))
		}
		_, _ = fmt.Fprintf(d.in.Out, "  %s\n", wrong.line())
	}
}

// complaint says what is wrong with an answer that was given beforehand, or that
// there is none and nobody to be asked.
func (q question) complaint(given string, wrong *badValue) string {
	what := q.text
	if q.flag != "" {
		what += " (" + q.flag + ")"
	}
	if given != "" || q.flag == "" {
		return what + ": " + wrong.line()
	}
	what += " is missing"
	if wrong.fix != "" {
		what += "; fix: " + wrong.fix
	}
	return what
}

func (b *badValue) line() string {
	if b.fix == "" {
		return b.what
	}
	return b.what + "; fix: " + b.fix
}

func (d *dialog) read(q question) (string, error) {
	hint := ""
	if q.hint != "" {
		hint = " (" + q.hint + ")"
	}
	if _, err := fmt.Fprintf(d.in.Out, "%s%s: ", q.text, hint); err != nil {
		return "", err
	}
	if q.secret && d.in.ReadSecret != nil {
		s, err := d.in.ReadSecret()
		_, _ = fmt.Fprintln(d.in.Out)
		return s, err
	}
	s, err := d.r.ReadString('\n')
	if err != nil && (s == "" || !errors.Is(err, io.EOF)) {
		return "", fmt.Errorf("init: no answer to %q: %w", q.text, err)
	}
	s = strings.TrimRight(s, "\r\n")
	if !q.secret {
		s = strings.TrimSpace(s)
	}
	return s, nil
}

// people settles who meets the bridge.
func (d *dialog) people(a *Answers) error {
	bot, _, _ := strings.Cut(a.JID, "/")
	seen := map[string]bool{bot: true}
	person := func(_ *Init, s string) (string, *badValue) {
		j, err := parseBareJID(s)
		switch {
		case err != nil:
			return "", err
		case j == bot:
			return "", bad("name a person", "%s is the bot itself", j)
		case seen[j]:
			return "", bad("name another", "%s is in the list already", j)
		}
		seen[j] = true
		return j, nil
	}
	key := func(_ *Init, s string) (string, *badValue) {
		f, err := parseFingerprint(s)
		switch {
		case err != nil:
			return "", err
		case seen[f]:
			return "", bad("every person has an own key", "%s is somebody else's in the list", f)
		}
		seen[f] = true
		return f, nil
	}
	var wrong []error
	for i := range a.People {
		p := &a.People[i]
		wrong = append(wrong,
			d.settle(question{text: "person", check: person}, &p.JID),
			d.settle(question{text: "key of " + p.JID, check: key}, &p.Fingerprint))
	}
	if len(a.People) == 0 && d.r == nil {
		wrong = append(wrong, fmt.Errorf("%w: no person (--person) to talk with; fix: --person JID=FINGERPRINT", ErrAnswers))
	}
	if d.r == nil || len(a.People) > 0 {
		return errors.Join(wrong...)
	}
	who := question{text: "JID of a person who shall read and write along", check: person}
	for {
		var p PersonAnswer
		if err := d.settle(who, &p.JID); err != nil || p.JID == "" {
			return err
		}
		if err := d.settle(question{text: "Fingerprint of their OpenPGP key", hint: "gpg --fingerprint shows it", check: key}, &p.Fingerprint); err != nil {
			return err
		}
		a.People = append(a.People, p)
		who = question{text: "JID of one more person", hint: "empty: that is all", check: optional(person)}
	}
}
