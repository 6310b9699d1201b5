package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/internal/admin"
	"drawbridge/internal/store"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/trust"
)

// atSocket is who decided by a verb: root or the bot's user.
const atSocket = "the admin socket"

// askTime bounds how long a person's session is waited for by otr verify.
const askTime = 30 * time.Second

// trustArgs are the arguments of the verbs of trust and of otr verify.
type trustArgs struct {
	Person      string       `json:"person,omitempty"`
	Kind        e2ee.KeyKind `json:"kind,omitempty"`
	Fingerprint string       `json:"fingerprint,omitempty"`
	Question    string       `json:"question,omitempty"`
}

// trustReport is one key as `drawbridge trust list --json` prints it.
type trustReport struct {
	Person      string    `json:"person"`
	Kind        string    `json:"kind"`
	Fingerprint string    `json:"fingerprint"`
	State       string    `json:"state"`         // waiting, kept, trusted, revoked
	Rung        string    `json:"rung"`          // clear: it is not used
	How         string    `json:"how,omitempty"` // config, authority, admin, smp, session, tofu, seen
	Who         string    `json:"who,omitempty"`
	First       time.Time `json:"first,omitzero"`
	Since       time.Time `json:"since,omitzero"`
}

func reportKey(k e2ee.Key) trustReport {
	return trustReport{
		Person: k.Person, Kind: string(k.Kind), Fingerprint: k.Fingerprint, State: k.State.String(), Rung: k.Rung.String(),
		How: string(k.How), Who: k.Who, First: k.First, Since: k.Since,
	}
}

// trustVerbs is the table of what the verbs of trust do with a book: the running
// bot's, or the one in the store of a bot that is stopped.
func trustVerbs() []trustVerb {
	return []trustVerb{
		{"list", admin.Look, func(_ context.Context, b *trust.Book, a trustArgs) (any, error) {
			var persons []string
			if a.Person != "" {
				if b.Person(a.Person) == nil {
					return nil, fmt.Errorf("%w: %s", trust.ErrNoPerson, a.Person)
				}
				persons = []string{a.Person}
			}
			out := []trustReport{}
			for _, k := range b.List(persons...) {
				out = append(out, reportKey(k))
			}
			return out, nil
		}},
		{"accept", admin.Change, func(ctx context.Context, b *trust.Book, a trustArgs) (any, error) {
			k, err := b.Accept(ctx, a.decision())
			return reportKey(k), err
		}},
		{"revoke", admin.Change, func(ctx context.Context, b *trust.Book, a trustArgs) (any, error) {
			k, err := b.Revoke(ctx, a.decision())
			return reportKey(k), err
		}},
		{"clear", admin.Change, func(ctx context.Context, b *trust.Book, a trustArgs) (any, error) {
			return nil, b.ClearSMP(ctx, a.Person, atSocket)
		}},
	}
}

type trustVerb struct {
	name  string
	needs admin.Need
	do    func(context.Context, *trust.Book, trustArgs) (any, error)
}

func (a trustArgs) decision() trust.Decision {
	return trust.Decision{Person: a.Person, Kind: a.Kind, Fingerprint: a.Fingerprint, How: e2ee.HowAdmin, Who: atSocket}
}

// trustHints are the ways out of what a book refuses.
var trustHints = []struct {
	err  error
	hint string
}{
	{trust.ErrNoPerson, "people of the configuration: drawbridge trust list"},
	{trust.ErrFingerprint, "drawbridge trust list; or copy it from the person's client"},
	{trust.ErrUnseen, "add --kind otr or --kind openpgp"},
	{trust.ErrOther, "a key belongs to one person; revoke it there first"},
	{e2ee.ErrNoSecret, "set otr_secret_file at the person, and reload"},
	{e2ee.ErrSecretUsed, "write another secret into otr_secret_file, tell it the person, and reload"},
	{e2ee.ErrSMPBlocked, "drawbridge trust clear PERSON"},
	{e2ee.ErrHandshake, "the person writes a line by OTR first"},
}

func trustHint(err error) string {
	for _, h := range trustHints {
		if errors.Is(err, h.err) {
			return h.hint
		}
	}
	return storeHint(err)
}

// trustRows are what the running bot answers about people's keys.
func trustRows(b *bot) []admin.Row {
	args := func(raw json.RawMessage) (a trustArgs, err error) {
		if len(raw) > 0 {
			err = json.Unmarshal(raw, &a)
		}
		return a, err
	}
	rows := []admin.Row{{
		Verb: "otr verify", Needs: admin.Change, Timeout: askTime,
		Handle: func(ctx context.Context, raw json.RawMessage) (any, error) {
			a, err := args(raw)
			if err == nil {
				err = b.verify(a)
			}
			if err != nil {
				return nil, &admin.Error{Err: err, Hint: trustHint(err)}
			}
			return nil, nil
		},
	}}
	for _, v := range trustVerbs() {
		rows = append(rows, admin.Row{Verb: "trust " + v.name, Needs: v.needs, Handle: func(ctx context.Context, raw json.RawMessage) (any, error) {
			a, err := args(raw)
			if err != nil {
				return nil, err
			}
			out, err := v.do(ctx, b.book(), a)
			if err != nil {
				return nil, &admin.Error{Err: err, Hint: trustHint(err)}
			}
			return out, nil
		}})
	}
	return rows
}

// book is the book of keys in use.
func (b *bot) book() *trust.Book {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys.book
}

// verify asks a person the question about the shared secret, on the first account
// that has a session with them.
func (b *bot) verify(a trustArgs) error {
	b.mu.Lock()
	legs, cfg := b.legs, b.cfg
	b.mu.Unlock()
	if cfg.Person(a.Person) == nil {
		return fmt.Errorf("%w: %s", trust.ErrNoPerson, a.Person)
	}
	err := fmt.Errorf("no account of a bridge speaks OTR with %s", a.Person)
	for _, l := range legs {
		if l.ask == nil {
			continue
		}
		switch why := l.ask(a.Person, a.Question); {
		case why == nil:
			return nil
		default:
			err = why
		}
	}
	return err
}

// trustProblems are what stands between people and the bot because of their keys,
// for status and doctor.
func (b *bot) trustProblems() []string {
	b.mu.Lock()
	book, cfg, company := b.keys.book, b.cfg, b.company
	b.mu.Unlock()
	if book == nil {
		return nil
	}
	now := time.Now()
	var out []string
	if err := company.problem(cfg, now); err != nil {
		out = append(out, "keyring.authority certifies nobody: "+err.Error())
	}
	for _, k := range book.List() {
		name := fmt.Sprintf("%s: %s key %s", k.Person, trust.KindName(k.Kind), k.Fingerprint)
		switch {
		case k.State == e2ee.KeyWaiting:
			out = append(out, fmt.Sprintf("%s came %s ago and is not accepted: drawbridge trust accept %s %s, or revoke", name, span(now.Sub(k.First)), k.Person, k.Fingerprint))
		case k.State == e2ee.KeyRevoked && slices.Contains(e2ee.ConfigPins(book.Person(k.Person), k.Kind), k.Fingerprint):
			out = append(out, name+" is revoked, though the configuration lists it: take it out there")
		}
	}
	for _, person := range book.SMPBlocked() {
		out = append(out, fmt.Sprintf("%s: too many tries with the shared secret failed: drawbridge trust clear %s", person, person))
	}
	return out
}

func newTrust(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "See whose keys count, accept and revoke them",
		Long: `See which keys of people count and why, accept one that came, and revoke one.

With the bot stopped these verbs work on its store. A key that is revoked is used
in neither direction from that moment on, whatever the configuration says, until
it is accepted again.`,
		RunE: needsVerb("trust", "drawbridge trust list|accept|revoke|clear"),
	}
	cmd.AddCommand(newTrustList(g),
		newTrustDecide(g, "accept", "Accept a key of a person: it counts as verified",
			`Accept a key of a person: from now on it counts as verified. Compare the whole
fingerprint with its owner first, by another way than the chat it came by.`),
		newTrustDecide(g, "revoke", "Revoke a key of a person: it is not used any more",
			`Revoke a key of a person: nothing is sealed to it and nothing taken from it any
more, from this moment on, though the configuration may list it.`),
		newTrustClear(g))
	return cmd
}

func newTrustList(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list [PERSON]",
		Short:             "List the keys that are known of everybody, or of a person",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: g.completePeople,
		RunE: func(cmd *cobra.Command, args []string) error {
			a := trustArgs{}
			if len(args) == 1 {
				a.Person = args[0]
			}
			var keys []trustReport
			if err := g.trust(cmd, "list", a, &keys); err != nil {
				return err
			}
			if g.json {
				return json.NewEncoder(g.out).Encode(keys)
			}
			if len(keys) == 0 {
				sayln(g.out, "no keys")
				return nil
			}
			w := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
			sayln(w, "PERSON\tKIND\tFINGERPRINT\tSTATE\tRUNG\tHOW\tWHO\tFIRST SEEN\tSINCE")
			for _, k := range keys {
				sayf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.Person, k.Kind, k.Fingerprint, k.State, k.Rung, dash(k.How), dash(clean(k.Who)), day0(k.First), day0(k.Since))
			}
			return w.Flush()
		},
	}
	jsonFlag(cmd, g)
	return cmd
}

func day0(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

func newTrustDecide(g *globals, verb, short, long string) *cobra.Command {
	kind := ""
	cmd := &cobra.Command{
		Use:               verb + " PERSON FINGERPRINT",
		Short:             short,
		Long:              long,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: g.completePeople,
		RunE: func(cmd *cobra.Command, args []string) error {
			a := trustArgs{Person: args[0], Fingerprint: strings.Join(args[1:], ""), Kind: e2ee.KeyKind(kind)}
			if kind != "" && !slices.Contains(e2ee.KeyKinds(), a.Kind) {
				return misused(fmt.Errorf("--kind %q is no kind of keys", kind), "--kind otr or --kind openpgp")
			}
			var k trustReport
			if err := g.trust(cmd, verb, a, &k); err != nil {
				return err
			}
			if g.json {
				return json.NewEncoder(g.out).Encode(k)
			}
			sayf(g.out, "%s %s of %s: %s\n", k.Kind, trust.Spaced(k.Fingerprint), k.Person, k.State)
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "`KIND` of a key that was never seen: otr or openpgp")
	jsonFlag(cmd, g)
	return cmd
}

func newTrustClear(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "clear PERSON",
		Short: "Let a person be asked for the shared secret again",
		Long: `Let a person be asked for the shared secret again, of whom three tries failed
within a day. Find out first who tried.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: g.completePeople,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := g.trust(cmd, "clear", trustArgs{Person: args[0]}, nil); err != nil {
				return err
			}
			sayf(g.out, "%s may be asked again\n", args[0])
			return nil
		},
	}
}

func newOTRVerbs(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "otr",
		Short: "Verify people who speak OTR; the bot's own OTR keys",
		RunE:  needsVerb("otr", "drawbridge otr verify PERSON, or drawbridge otr keys show|import|export"),
	}
	cmd.AddCommand(newOTRVerify(g), newOTRKeys(g))
	return cmd
}

func newOTRVerify(g *globals) *cobra.Command {
	question := ""
	cmd := &cobra.Command{
		Use:   "verify PERSON",
		Short: "Ask a person for the shared secret, in their OTR session",
		Long: `Ask a person, in their OTR session, for what otr_secret_file at the person holds.
Who knows it has their key accepted; how it ended is told to the admins and
stands in "drawbridge trust list". The secret is used once. After three failed
tries within a day there are no more until "drawbridge trust clear PERSON".`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: g.completePeople,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := g.call(cmd, "otr verify", trustArgs{Person: args[0], Question: question}, nil); err != nil {
				return err
			}
			sayf(g.out, "%s was asked; drawbridge trust list %s shows whether they knew\n", args[0], args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&question, "question", "", "`TEXT` shown to the person, so that they know which secret is meant")
	return cmd
}

// trust asks the running bot, or does it itself on the store of one that is stopped.
func (g *globals) trust(cmd *cobra.Command, verb string, a trustArgs, result any) error {
	err := g.call(cmd, "trust "+verb, a, result)
	if !errors.Is(err, admin.ErrNotRunning) {
		return err
	}
	c, cerr := g.load()
	if cerr != nil {
		return cerr
	}
	if c.Store.Memory {
		return err
	}
	st, err := store.Open(storeConfig(c), store.Deps{Log: newQuiet()})
	if err != nil {
		return storeFailed(err)
	}
	defer closeStore(st, newQuiet())
	ring, err := openKeys(c, nil, nil, newQuiet())
	if err != nil {
		printErrors(g.err, err)
		return misused(errors.New("not all keys can be read"), "")
	}
	company := &companyKey{}
	company.set(ring, c)
	book, err := trust.New(cmd.Context(), trustConfig(c), trust.Deps{Keeper: st, Certifier: company, Own: company.isOwn})
	if err != nil {
		return storeFailed(err)
	}
	i := slices.IndexFunc(trustVerbs(), func(v trustVerb) bool { return v.name == verb })
	out, err := trustVerbs()[i].do(cmd.Context(), book, a)
	if err == nil {
		err = book.Flush(cmd.Context())
	}
	if err != nil {
		return failed(err, trustHint(err))
	}
	raw, err := json.Marshal(out)
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(raw, result)
}
