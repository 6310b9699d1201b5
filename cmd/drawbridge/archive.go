package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/internal/archive"
	"drawbridge/internal/config"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
)

// archiveOptions are the flags of migrate archive.
type archiveOptions struct {
	format, charset, out, title string
	since, until, tz, in        string
	readers                     []string
}

func newMigrateArchive(g *globals) *cobra.Command {
	var o archiveOptions
	cmd := &cobra.Command{
		Use:   "archive --to WHO… LOG…",
		Short: "Turn channel logs into one encrypted, searchable file",
		Long: `Turn channel logs of irssi, WeeChat or ZNC into one file that is encrypted to
people by OpenPGP. gpg --decrypt makes one HTML page of it, which is searched in a
browser without any network. Nothing readable is written to disk, and logs of any
size are read line by line. LOG is a file, or a folder of which the logs of channels
are taken; private talk is left out there.

WHO is a person of the configuration, or the fingerprint of a key of the keyring. A
key that is expired, revoked or cannot encrypt is refused. Logs are not put into
rooms: who comes later would read what was not said to them.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return g.archive(cmd, &o, args) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.readers, "to", nil, "who can read it: a person or a fingerprint, `WHO`; may be repeated")
	f.StringVarP(&o.out, "out", "o", "archive.html.gpg", "`FILE` to write; it must not be there yet")
	f.StringVar(&o.format, "format", "", "irssi, weechat or znc (default: each log is looked at)")
	f.StringVar(&o.charset, "encoding", "windows-1252", "`NAME` of the encoding of lines that are not UTF-8")
	f.StringVar(&o.tz, "tz", "", "time `ZONE` of the logs, as Europe/Berlin (default: this machine's)")
	f.StringVar(&o.in, "show-tz", "", "time `ZONE` of the page (default: as it was logged)")
	f.StringVar(&o.since, "since", "", "first `DAY`, as 2024-01-31")
	f.StringVar(&o.until, "until", "", "last `DAY`")
	f.StringVar(&o.title, "title", "", "`TITLE` of the page (default: the channels)")
	return cmd
}

func (g *globals) archive(cmd *cobra.Command, o *archiveOptions, logs []string) error {
	opt, err := o.options()
	if err != nil {
		return misused(err, "drawbridge migrate archive -h")
	}
	if len(o.readers) == 0 {
		return misused(errors.New("nobody could read it"), "--to PERSON, or --to FINGERPRINT")
	}
	c, k, all, err := g.allKeys(cmd)
	if err != nil {
		return err
	}
	to, err := g.archiveReaders(c, o.readers, all)
	if err != nil {
		return err
	}
	a, err := archive.Open(logs, opt)
	if err != nil {
		for _, e := range split(err) {
			sayln(g.err, clean(e.Error()))
		}
		return failed(errors.New("no archive was written"), "--format says what the logs are")
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	counts, err := writeArchive(ctx, a, k.ring, to, o.out)
	if err != nil {
		for _, e := range split(err) {
			sayln(g.err, clean(e.Error()))
		}
		return failed(errors.New("no archive was written"), "")
	}
	g.sayArchive(o.out, a, counts, to)
	return nil
}

// sayArchive tells what was written.
func (g *globals) sayArchive(out string, a *archive.Archive, n archive.Counts, to []openpgp.Reader) {
	sayln(g.out, out)
	sayf(g.err, "%s of %s: %s\n", count(n.Lines, "line"), count(n.Files, "log"), clean(strings.Join(a.Channels(), ", ")))
	for _, r := range to {
		sayf(g.err, "to %s %s\n", r.Person, spaced(r.Fingerprint))
	}
	if n := len(a.Skipped); n > 0 {
		sayf(g.err, "left out %s that no channel's name stands for (private talk?): %s; name a file to take it\n", count(n, "file"), clean(shortList(a.Skipped)))
	}
	for _, odd := range []struct {
		n    int
		what string
	}{{n.Odd, "not understood, and kept as they are"}, {n.Cut, "cut after 64 KiB"}, {n.Undated, "without a date"}, {n.Recoded, "not UTF-8, and recoded"}} {
		if odd.n > 0 {
			sayf(g.err, "%s %s\n", count(odd.n, "line"), odd.what)
		}
	}
	sayf(g.err, "\nRead it:\n  gpg --output archive.html --decrypt %s\n", out)
}

// shortList names the first few.
func shortList(names []string) string {
	const few = 5
	if len(names) > few {
		return strings.Join(names[:few], ", ") + " …"
	}
	return strings.Join(names, ", ")
}

// options reads the flags about reading.
func (o *archiveOptions) options() (archive.Options, error) {
	opt := archive.Options{Title: o.title, Format: archive.Format(o.format)}
	var errs []error
	if o.format != "" && !slices.Contains(archive.Formats(), opt.Format) {
		errs = append(errs, fmt.Errorf("--format %q is not irssi, weechat or znc", o.format))
	}
	charset, known := archive.Charset(o.charset)
	if charset == nil {
		errs = append(errs, fmt.Errorf("--encoding %q is not one of %s", o.charset, strings.Join(known, ", ")))
	}
	opt.Charset = charset
	for _, d := range []struct {
		flag, value string
		to          *string
	}{{"--since", o.since, &opt.Since}, {"--until", o.until, &opt.Until}} {
		day, err := archive.ParseDay(d.value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %q %w", d.flag, d.value, err))
		}
		*d.to = day
	}
	for _, z := range []struct {
		flag, value string
		to          **time.Location
	}{{"--tz", o.tz, &opt.From}, {"--show-tz", o.in, &opt.To}} {
		if z.value == "" {
			continue
		}
		loc, err := time.LoadLocation(z.value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %q is no time zone that this machine knows", z.flag, z.value))
		}
		*z.to = loc
	}
	if opt.Since != "" && opt.Until != "" && opt.Since > opt.Until {
		errs = append(errs, fmt.Errorf("--since %s is after --until %s", opt.Since, opt.Until))
	}
	return opt, errors.Join(errs...)
}

// archiveReaders finds the keys of those who shall read. A key that cannot be used
// is an error, unless its person has another that can; then it is told.
func (g *globals) archiveReaders(c *config.Config, names []string, all []ownedKey) ([]openpgp.Reader, error) {
	var out []openpgp.Reader
	wrong := 0
	say := func(format string, args ...any) {
		wrong++
		sayf(g.err, format+"\n", args...)
	}
	for _, name := range names {
		fpr := strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(name, "0x"), " ", ""))
		var mine, bad []openpgp.Reader
		var why error
		for i := range all {
			k := &all[i]
			person := slices.Contains(k.persons, name)
			if k.account != "" || !person && k.Fingerprint != fpr {
				continue
			}
			r := openpgp.Reader{Person: name, Fingerprint: k.Fingerprint, AllowWeak: weakAllowed(c, k.persons)}
			if !person {
				r.Person = strings.Join(k.persons, ", ")
			}
			if err := k.unusable(r.AllowWeak); err != nil {
				bad, why = append(bad, r), errors.Join(why, &openpgp.KeyError{Person: r.Person, Fingerprint: r.Fingerprint, Err: err})
				continue
			}
			mine = append(mine, r)
		}
		switch {
		case len(mine) == 0 && why == nil:
			say("--to %s: is neither a person with a key nor the fingerprint of a key of the keyring; fix: drawbridge keys list", clean(name))
		case len(mine) == 0:
			for _, e := range split(why) {
				say("--to %s: %s", clean(name), clean(e.Error()))
			}
		case len(bad) > 0:
			sayf(g.err, "--to %s: %d of their keys cannot be used, and are left out\n", clean(name), len(bad))
		}
		for _, r := range mine {
			if !slices.ContainsFunc(out, func(o openpgp.Reader) bool { return o.Fingerprint == r.Fingerprint }) {
				out = append(out, r)
			}
		}
	}
	if wrong > 0 {
		return nil, failed(errors.New("no archive was written"), "")
	}
	return out, nil
}

// weakAllowed reports whether one of the persons may use a weak key.
func weakAllowed(c *config.Config, persons []string) bool {
	return slices.ContainsFunc(persons, func(name string) bool {
		p := c.Person(name)
		return p != nil && p.AllowWeakKey
	})
}

// unusable says why nothing may be encrypted to the key, nil if it may.
func (k *ownedKey) unusable(allowWeak bool) error {
	switch {
	case k.revoked:
		return fmt.Errorf("%w by an admin", e2ee.ErrKeyRevoked)
	case k.Unusable != nil:
		return k.Unusable
	case k.Weak && !allowWeak:
		return e2ee.ErrKeyWeak
	}
	return nil
}

// writeArchive writes the encrypted page under another name first: what stands
// under the right one is whole.
func writeArchive(ctx context.Context, a *archive.Archive, ring *openpgp.Keyring, to []openpgp.Reader, path string) (n archive.Counts, err error) {
	if _, err := os.Lstat(path); err == nil {
		return n, fmt.Errorf("%s %w; fix: --out names another file", path, config.ErrExists)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".archive-*.gpg") // 0600
	if err != nil {
		return n, err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name()) // it is gone where all went well
	}()
	w, err := ring.EncryptFile(f, to, strings.TrimSuffix(filepath.Base(path), ".gpg"), time.Now())
	if err != nil {
		return n, err
	}
	n, err = a.Write(ctx, w)
	if err = errors.Join(err, w.Close()); err != nil {
		return n, err
	}
	if err := f.Sync(); err != nil {
		return n, err
	}
	err = os.Link(f.Name(), path) // never over another
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = os.Rename(f.Name(), path) // where the file system has no links
	}
	return n, err
}
