package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"
	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/register"
	"drawbridge/xmpp/stream"
)

// registerOptions are the flags of `drawbridge register`.
type registerOptions struct {
	list              string
	passwordFile, dir string
	server, tls, ca   string
	pins              []string
	as, asPassword    string
	invite            int
	invitation        string
	fields            []string
	noInput           bool
}

func newRegister(g *globals) *cobra.Command {
	var o registerOptions
	cmd := &cobra.Command{
		Use:   "register [ACCOUNT|JID]...",
		Short: "Make the bot's account, or a list of accounts, at an XMPP server",
		Long: `Make accounts at an XMPP server: the bot's own, by its name in the configuration,
or any by their JIDs.

Without --as, in-band: as a client would before it logs in (XEP-0077), over TLS
only. What else the server wants to know is asked here, or given by --field; a
CAPTCHA is shown as an address with its QR code, or written to a file. --invitation
hands the server the link of an invitation first, where it takes none without.

With --as, by the ad-hoc command of that admin's account (XEP-0133). With --as and
--invite N, no account is made: N links are printed by which people make their own
(Prosody's mod_invites_adhoc; ejabberd 23.01 has nothing like it).

A password is generated for each account and written to a file that nobody else can
read (0600), before the account is made; it is never printed. For an account of the
configuration that is its password_file, else --password-file, or JID in
--password-dir. A file that is there already is used as it is, so the same command
can be given again: accounts that are there and let us in are left alone. In the end
each account is tried by logging in.`,
		Example: `  drawbridge register dev-bot
  drawbridge register bot@example.org --password-file secrets/bot
  drawbridge register --list people.txt --password-dir secrets --as admin@example.org --as-password-file secrets/admin
  drawbridge register --invite 3 --as bot@example.org --as-password-file secrets/bot`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return register1(cmd.Context(), g, &o, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.list, "list", "", "`FILE` of JIDs, one a line; - is standard input")
	f.StringVar(&o.passwordFile, "password-file", "", "`FILE` of the password, of one account")
	f.StringVar(&o.dir, "password-dir", "secrets", "`FOLDER` of the passwords, each in a file named by its JID")
	f.StringVar(&o.server, "server", "", "`HOST:PORT`, where DNS does not tell")
	f.StringVar(&o.tls, "tls", "starttls", "starttls or direct: `HOW` TLS begins")
	f.StringVar(&o.ca, "ca-file", "", "PEM `FILE` of a private authority")
	f.StringSliceVar(&o.pins, "pin-sha256", nil, "`SHA256` of the server's certificate")
	f.StringVar(&o.as, "as", "", "`JID` of an admin, by whose command it is done")
	f.StringVar(&o.asPassword, "as-password-file", "", "`FILE` of that account's password")
	f.IntVar(&o.invite, "invite", 0, "print `N` links instead, by which people make accounts")
	f.StringVar(&o.invitation, "invitation", "", "`URI` of an invitation (xmpp:…?register;preauth=…)")
	f.StringArrayVar(&o.fields, "field", nil, "`NAME=VALUE` of the server's form; may be repeated")
	f.BoolVar(&o.noInput, "no-input", false, "ask nothing: what a form lacks is an error")
	for _, name := range []string{"list", "password-file", "ca-file", "as-password-file"} {
		_ = cmd.MarkFlagFilename(name)
	}
	_ = cmd.MarkFlagDirname("password-dir")
	return cmd
}

// newAccount is an account to be made, and how to reach its server.
type newAccount struct {
	jid    jid.JID // bare
	file   string  // of its password
	stream stream.Config
}

// register1 carries out the verb.
func register1(ctx context.Context, g *globals, o *registerOptions, args []string) error {
	answers, err := o.answers()
	if err != nil {
		return err
	}
	r := &registrar{g: g, o: o, answers: answers, in: bufio.NewReader(g.in)}
	if o.as != "" {
		if err := r.login(ctx); err != nil {
			return err
		}
		defer r.admin.close()
	}
	if o.invite != 0 {
		return r.invitations(ctx, args)
	}
	list, err := r.accounts(args)
	if err != nil {
		return err
	}
	for i := range list {
		made, err := r.create(ctx, &list[i])
		if err != nil {
			if left := len(list) - i - 1; left > 0 {
				sayf(g.err, "%d more not tried; the same command goes on with them\n", left)
			}
			return err
		}
		sayf(g.out, "%s\t%s\t%s\n", list[i].jid, made, list[i].file)
	}
	return nil
}

// answers reads --field.
func (o *registerOptions) answers() (map[string]string, error) {
	out := map[string]string{}
	for _, f := range o.fields {
		name, value, ok := strings.Cut(f, "=")
		switch {
		case !ok || name == "":
			return nil, misused(fmt.Errorf("--field %q is not NAME=VALUE", f), "")
		case name == "password" || name == "username":
			return nil, misused(fmt.Errorf("--field %s: names and passwords come from the JID and the password file", name), "")
		}
		out[name] = value
	}
	switch {
	case o.tls != "starttls" && o.tls != "direct":
		return nil, misused(fmt.Errorf("--tls %s", o.tls), "starttls or direct; passwords never go to a server without TLS")
	case (o.as == "") != (o.asPassword == ""):
		return nil, misused(errors.New("--as and --as-password-file come together"), "")
	case o.invite < 0 || o.invite > 100:
		return nil, misused(fmt.Errorf("--invite %d", o.invite), "from 1 to 100 at once")
	case o.invite != 0 && o.as == "":
		return nil, misused(errors.New("--invite needs the account that invites"), "--as JID --as-password-file FILE")
	case o.invitation != "" && o.as != "":
		return nil, misused(errors.New("--invitation is for accounts made in-band, without --as"), "")
	}
	return out, nil
}

// accounts are what the arguments and --list name.
func (r *registrar) accounts(args []string) ([]newAccount, error) {
	names := args
	if r.o.list != "" {
		more, err := r.listed()
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	switch {
	case len(names) == 0:
		return nil, misused(errors.New("which account?"), "drawbridge register ACCOUNT (of the configuration), JID, or --list FILE")
	case len(names) > 1 && r.o.passwordFile != "":
		return nil, misused(errors.New("--password-file is of one account"), "--password-dir FOLDER")
	}
	var out []newAccount
	seen := map[string]bool{}
	for _, name := range names {
		a, err := r.account(name)
		if err != nil {
			return nil, err
		}
		if seen[a.jid.String()] {
			return nil, misused(fmt.Errorf("%s stands twice", a.jid), "")
		}
		seen[a.jid.String()] = true
		out = append(out, a)
	}
	return out, nil
}

// maxListed bounds a --list.
const maxListed = 10_000

// listed reads --list.
func (r *registrar) listed() ([]string, error) {
	in := r.g.in
	if r.o.list != "-" {
		f, err := os.Open(r.o.list)
		if err != nil {
			return nil, misused(err, "")
		}
		defer func() { _ = f.Close() }()
		in = f
	} else {
		r.o.noInput = true // what is read there is the list
	}
	var out []string
	sc := bufio.NewScanner(io.LimitReader(in, 8<<20))
	for n := 1; sc.Scan(); n++ {
		line, _, _ := strings.Cut(sc.Text(), "#")
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			continue
		case !strings.Contains(line, "@"):
			return nil, misused(fmt.Errorf("%s:%d: %q is not a JID", r.o.list, n, line), "one a line: name@domain")
		case len(out) == maxListed:
			return nil, misused(fmt.Errorf("%s: more than %d", r.o.list, maxListed), "")
		}
		out = append(out, line)
	}
	if err := sc.Err(); err != nil {
		return nil, misused(fmt.Errorf("%s: %w", r.o.list, err), "")
	}
	return out, nil
}

// account is the account called name, or of that JID.
func (r *registrar) account(name string) (newAccount, error) {
	if !strings.Contains(name, "@") {
		return r.configured(name)
	}
	a, err := parseAccount(name)
	if err != nil {
		return a, err
	}
	a.stream = r.o.stream(a.jid)
	if a.file = r.o.passwordFile; a.file == "" {
		a.file = filepath.Join(r.o.dir, a.jid.String())
	}
	return a, nil
}

// parseAccount reads a JID of which an account can be made.
func parseAccount(name string) (newAccount, error) {
	j, err := jid.Parse(name)
	switch {
	case err != nil:
		return newAccount{}, misused(fmt.Errorf("%q is not a JID: %w", name, err), "name@domain")
	case j.Localpart() == "":
		return newAccount{}, misused(fmt.Errorf("%q has no user name", name), "name@domain")
	case strings.ContainsAny(j.Bare().String(), "/\x00") || strings.HasPrefix(j.String(), "."):
		return newAccount{}, misused(fmt.Errorf("%q cannot be an account", name), "")
	}
	return newAccount{jid: j.Bare()}, nil
}

// stream says how the server of j is reached.
func (o *registerOptions) stream(j jid.JID) stream.Config {
	c := stream.Config{JID: j, Server: o.server, TLS: stream.TLS{CAFile: o.ca, Pins: o.pins}, NoSM: true, Timeout: time.Minute}
	if o.tls == "direct" {
		c.TLS.Mode = stream.DirectTLS
	}
	return c
}

// configured is an account of the configuration. The file may lack what it needs to be
// loaded, as the password that is made here does: only the account is read, without
// what the environment may say.
func (r *registrar) configured(name string) (newAccount, error) {
	path, err := r.g.configPath()
	if err != nil {
		return newAccount{}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return newAccount{}, misused(err, "")
	}
	var c struct {
		Accounts map[string]struct {
			JID          string    `yaml:"jid"`
			Server       string    `yaml:"server"`
			TLS          string    `yaml:"tls"`
			CAFile       string    `yaml:"ca_file"`
			Pins         yaml.Node `yaml:"pin_sha256"`
			PasswordFile string    `yaml:"password_file"`
		} `yaml:"accounts"`
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		return newAccount{}, misused(fmt.Errorf("%s is not usable: its accounts cannot be read", path), "drawbridge check")
	}
	in, ok := c.Accounts[name]
	if !ok {
		return newAccount{}, misused(fmt.Errorf("%s has no account %q", path, name), "a JID has an @: name@domain")
	}
	a, err := parseAccount(in.JID)
	if err != nil {
		return a, err
	}
	beside := func(p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(filepath.Dir(path), p)
	}
	o := *r.o
	o.server, o.ca = orElse(o.server, in.Server), orElse(o.ca, beside(in.CAFile))
	if in.TLS != "" {
		o.tls = in.TLS
	}
	if o.tls == "off" {
		return a, misused(fmt.Errorf("account %s has tls: off", name), "passwords never go to a server without TLS")
	}
	var one string
	if len(o.pins) == 0 && in.Pins.Decode(&o.pins) != nil && in.Pins.Decode(&one) == nil {
		o.pins = []string{one}
	}
	a.stream = o.stream(a.jid)
	if a.file = orElse(r.o.passwordFile, beside(in.PasswordFile)); a.file == "" {
		return a, misused(fmt.Errorf("account %s has no password_file", name), "add it to "+path+", or give --password-file")
	}
	return a, nil
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// explainRefusal says what to do about a server's no.
func explainRefusal(a *newAccount, err error, byAdmin bool) error {
	hint := ""
	var st *stream.StreamError
	switch {
	case errors.Is(err, register.ErrNoCommand):
		hint = "is that account an admin of " + a.jid.Domainpart() + "? Prosody needs mod_admin_adhoc, or mod_invites_adhoc for invitations; ejabberd mod_adhoc and mod_configure"
	case errors.Is(err, register.ErrTaken):
		hint = "choose another name; if the account is yours, write its password to " + a.file
	case errors.Is(err, register.ErrWait):
		hint = "servers bound how many accounts one address makes in a time; give the same command again later"
	case errors.Is(err, register.ErrNoRegistration), errors.Is(err, register.ErrNotAllowed) && !byAdmin:
		hint = "ask who runs " + a.jid.Domainpart() + " for an account or an invitation (--invitation), or let them do it (--as)"
	case errors.Is(err, register.ErrInvitation):
		hint = "ask for a new one; an invitation is good for one account"
	case errors.Is(err, register.ErrWrongAnswer):
		hint = "--field NAME=VALUE gives what the server asks for"
	case errors.Is(err, stream.ErrNoTLS), errors.Is(err, stream.ErrClear):
		hint = "no account is made there: its password would go in clear"
	case errors.As(err, &st) && (st.Condition == "host-unknown" || st.Condition == "host-gone" || st.Condition == "improper-addressing"):
		hint = "the server reached does not serve " + a.jid.Domainpart() + ": is the JID of another server, or --server wrong?"
	}
	return failed(fmt.Errorf("%s: %w", a.jid, err), hint)
}
