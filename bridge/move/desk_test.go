package move

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/migrate"
	"drawbridge/policy"
)

// update writes the transcripts anew: UPDATE=1 go test ./bridge/move, then read the diff.
var update = os.Getenv("UPDATE") != ""

// stage is a desk with a world that does what the transcript says. A transcript is
//
//	alice> !move              what somebody with that account says to the bot alone, on IRC
//	al=alice> !move           the same, where the nick is another
//	eve?> !move               the same, by a nick without an account
//	chat alice> !move CODE1   what a person says in their own encrypted chat; clear: "clear alice>"
//	* restart                 and other stage directions: see direct
//	  text                    what the bot answers; everything else it does is in [brackets]
type stage struct {
	t     *testing.T
	desk  *Desk
	store *migrate.Memory
	now   time.Time
	out   *strings.Builder
	codes int

	people  []*policy.Person
	links   map[string]string // account → person
	waits   map[string]bool
	server  Server
	fails   map[string]bool     // what does not work: "invite", "room", "tell", "link off", "link often", "store"
	keys    map[string]KeyState // by fingerprint
	usable  string
	asked   string // what was said in the language of who was to be linked last
	schemes []string
	rooms   []string
}

func newStage(t *testing.T) *stage {
	s := &stage{
		t: t, store: migrate.NewMemory(), now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), out: &strings.Builder{},
		people: []*policy.Person{
			{Name: "alice", JIDs: []string{"alice@corp.example"}},
			{Name: "bob", JIDs: []string{"bob@corp.example", "bob@other.example"}, IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{"bob"}}}},
		},
		links: map[string]string{}, waits: map[string]bool{}, fails: map[string]bool{}, keys: map[string]KeyState{}, schemes: []string{"otr", "ox", "openpgp"},
	}
	s.start()
	return s
}

// start is a fresh process on the same store.
func (s *stage) start() {
	s.desk = New(Deps{Store: failing{s}, World: s, Now: func() time.Time { return s.now }, Code: func() string {
		s.codes++
		return fmt.Sprintf("CODE%d", s.codes)
	}})
	s.desk.Reload([]Bridge{
		{Name: "dev", Channels: []bridge.Room{channel("#dev")}, Leg: "bot", Schemes: s.schemes, Rooms: s.rooms, To: "dev@rooms.corp.example"},
		{Name: "ops", Channels: []bridge.Room{channel("#ops")}, Leg: "bot", Schemes: s.schemes, To: "the chat with bot@corp.example", Language: "deutsch"},
	})
}

func channel(name string) bridge.Room {
	return bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: name}
}

func (s *stage) did(format string, args ...any) { fmt.Fprintf(s.out, "  ["+format+"]\n", args...) }

// failing is the store, which the stage can break.
type failing struct{ s *stage }

func (f failing) PutTalk(ctx context.Context, t migrate.Talk) error {
	if f.s.fails["store"] {
		return errors.New("disk full")
	}
	return f.s.store.PutTalk(ctx, t)
}

func (f failing) Talk(ctx context.Context, id string) (migrate.Talk, bool, error) {
	return f.s.store.Talk(ctx, id)
}
func (f failing) Talks(ctx context.Context) ([]migrate.Talk, error) { return f.s.store.Talks(ctx) }
func (f failing) DropTalk(ctx context.Context, id string) error     { return f.s.store.DropTalk(ctx, id) }

func (s *stage) person(name string) *policy.Person {
	i := slices.IndexFunc(s.people, func(p *policy.Person) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return s.people[i]
}

func (s *stage) Person(network, account string) (*policy.Person, bool) {
	for _, p := range s.people {
		if slices.Contains(p.IRC[network].Accounts, account) {
			return p, false
		}
	}
	return s.person(s.links[account]), s.waits[account]
}

func (s *stage) Known(jid string) bool {
	return slices.ContainsFunc(s.people, func(p *policy.Person) bool { return slices.Contains(p.JIDs, jid) })
}
func (s *stage) Domains() []string { return []string{"corp.example", "other.example"} }

func (s *stage) Link(_ context.Context, network, account, nick, jid string) (string, time.Time, error) {
	s.asked = s.desk.SayTo(context.Background(), network, account, "link_over", nil)
	switch {
	case s.fails["link off"]:
		return "", time.Time{}, ErrLinksOff
	case s.fails["link often"]:
		return "", time.Time{}, ErrOften
	}
	s.did("link of %s/%s (%s) to %s begins", network, account, nick, jid)
	return "K7QX", s.now.Add(10 * time.Minute), nil
}
func (s *stage) Server(context.Context, string) Server { return s.server }

func (s *stage) Key(jid, _, fpr string) (KeyState, string) {
	for _, p := range s.people {
		if slices.Contains(p.JIDs, jid) {
			return s.keys[fpr], p.Name
		}
	}
	return s.keys[fpr], ""
}

func (s *stage) Invite(context.Context, string) (Invitation, error) {
	if s.fails["invite"] {
		return Invitation{}, errors.New("forbidden")
	}
	s.codes++
	return Invitation{fmt.Sprintf("xmpp:corp.example?register;preauth=T%d", s.codes), s.now.Add(7 * day)}, nil
}

func (s *stage) AskIn(_ context.Context, _, room, jid string) error {
	if s.fails["room"] {
		return errors.New("forbidden")
	}
	s.did("%s is invited to %s", jid, room)
	return nil
}
func (s *stage) Bot(string) (string, string)  { return "bot@corp.example", "OTR AAAA BBBB" }
func (s *stage) Usable(string, string) string { return s.usable }

func (s *stage) Tell(_, person, text string) bool {
	if s.fails["tell"] {
		return false
	}
	s.did("sealed to %s: %s", person, text)
	return true
}
func (s *stage) TellNick(_, nick, text string) { s.did("to %s on IRC: %s", nick, text) }
func (s *stage) TellAdmins(text string)        { s.did("to the admins: %s", text) }
func (s *stage) Refuse(_ context.Context, leg, name string, refuses bool) error {
	s.did("%s/%s refuses to be counted: %v", leg, name, refuses)
	return nil
}

// irc is one line to the bot alone.
func (s *stage) irc(nick, account, host, text string, rooms ...bridge.Room) string {
	from := policy.NewIRCFacts("corp", nick, "u", host)
	from.Account = policy.IsNot("account-tag", s.now)
	if account != "" {
		from.Account = policy.Is(account, "account-tag", s.now)
	}
	words := strings.Fields(text)
	if strings.HasPrefix(words[0], "!") {
		words[0] = strings.ToLower(words[0])
	}
	return s.desk.Aside(s.t.Context(), bridge.Aside{Leg: "corp", From: from, Rooms: rooms, Words: words})
}

// direct carries out a stage direction.
func (s *stage) direct(words string) {
	verb, rest, _ := strings.Cut(words, " ")
	switch verb {
	case "restart":
		s.start()
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil {
			s.t.Fatal(err)
		}
		s.now = s.now.Add(d)
	case "server": // invites, inband, or the address of a web page
		s.server = Server{Invites: strings.Contains(rest, "invites"), InBand: strings.Contains(rest, "inband")}
		if strings.HasPrefix(rest, "https:") {
			s.server.Page = rest
		}
	case "key": // FINGERPRINT new, good, other, own, ended
		fpr, state, _ := strings.Cut(rest, " ")
		s.keys[fpr] = map[string]KeyState{"new": KeyNew, "good": KeyGood, "other": KeyOther, "own": KeyOwn, "ended": KeyEnded}[state]
	case "link": // ACCOUNT PERSON
		account, person, _ := strings.Cut(rest, " ")
		s.links[account] = person
		delete(s.waits, account)
	case "waits":
		s.waits[rest] = true
	case "usable":
		s.usable = rest
	case "fails", "works":
		s.fails[rest] = verb == "fails"
	case "rooms":
		s.rooms = strings.Fields(rest)
		s.start()
	case "schemes":
		s.schemes = strings.Fields(rest)
		s.start()
	default:
		s.t.Fatalf("no direction %q", words)
	}
}

// play runs one line of a transcript.
func (s *stage) play(line string) {
	dev := channel("#dev")
	who, text, _ := strings.Cut(line, "> ")
	var answer string
	switch {
	case strings.HasPrefix(line, "* "):
		s.direct(line[2:])
		return
	case strings.HasPrefix(who, "chat "), strings.HasPrefix(who, "clear "):
		how, person, _ := strings.Cut(who, " ")
		c := &bridge.Claim{Text: text, Person: person, Leg: "bot", Rung: policy.Signed}
		if how == "clear" {
			c.Rung = policy.Clear
		}
		answer = s.desk.Prove(s.t.Context(), c)
	case strings.HasSuffix(who, "?"):
		answer = s.irc(strings.TrimSuffix(who, "?"), "", "host", text, dev)
	case strings.HasSuffix(who, " elsewhere"):
		name := strings.TrimSuffix(who, " elsewhere")
		answer = s.irc(name, name, "host", text)
	case strings.HasSuffix(who, " in both"):
		name := strings.TrimSuffix(who, " in both")
		answer = s.irc(name, name, "host", text, dev, channel("#ops"))
	default:
		nick, account, other := strings.Cut(who, "=")
		if !other {
			account = nick
		}
		answer = s.irc(nick, account, "host", text, dev)
	}
	for l := range strings.Lines(answer) {
		s.out.WriteString("  " + strings.TrimRight(l, "\n") + "\n")
	}
}

// TestTranscripts holds whole conversations to testdata/*.txt.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := newStage(t)
			for line := range strings.Lines(string(data)) {
				line = strings.TrimRight(line, "\n")
				if strings.HasPrefix(line, "  ") {
					continue
				}
				s.out.WriteString(line + "\n")
				if line != "" && !strings.HasPrefix(line, "#") {
					s.play(line)
				}
			}
			if update {
				if err := os.WriteFile(file, []byte(s.out.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got, want := s.out.String(), string(data); got != want {
				t.Errorf("it went otherwise:\n%s", firstDifference(got, want))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d\n got %q\nwant %q", i+1, g[i], append(w, "")[min(i, len(w))])
		}
	}
	return "it ends early"
}

// TestInvitationsAreBounded: one a day and three a month for an account, three a day for
// a host, twenty a day in all; over restarts, too.
func TestInvitationsAreBounded(t *testing.T) {
	s := newStage(t)
	s.server = Server{Invites: true}
	ask := func(account, host string) bool {
		s.start()
		if got := s.irc(account, account, host, "!move restart", channel("#dev")); !strings.Contains(got, "Step 1") {
			t.Fatal(got)
		}
		got := s.irc(account, account, host, "2", channel("#dev"))
		if strings.Contains(got, "preauth=") == strings.Contains(got, "may not") {
			t.Fatal(got)
		}
		return strings.Contains(got, "preauth=")
	}
	for i, tt := range []struct {
		account, host string
		want          bool
	}{{"a", "h", true}, {"a", "h", false}, {"b", "h", true}, {"c", "h", true}, {"d", "h", false}, {"d", "other", true}} {
		if got := ask(tt.account, tt.host); got != tt.want {
			t.Errorf("%d: invitation to %s at %s: %v", i, tt.account, tt.host, got)
		}
	}
	for n := 4; ask(fmt.Sprint("x", n), fmt.Sprint("host", n)); n++ {
		if n >= 20 {
			t.Fatal("more than 20 in a day")
		}
	}
	if !ask("bob", "h") {
		t.Error("strangers have used up what is for bob, whom the configuration knows")
	}
	if ask("bob", "other") {
		t.Error("bob gets two in a day")
	}
	for n := range 4 { // of a month
		s.now = s.now.Add(25 * time.Hour)
		if got := ask("a", "h"); got != (n < 2) {
			t.Errorf("day %d: %v", n+1, got)
		}
	}
}

// TestNoticesAreBounded: admins hear little of who begins again and again, of one host,
// and of strangers in all; and of people they know all the same.
func TestNoticesAreBounded(t *testing.T) {
	s := newStage(t)
	heard := func() int { return strings.Count(s.out.String(), "to the admins") }
	ask := func(account, host string) {
		for _, line := range []string{"!move", "no", "!move restart", "no", "!move stop"} {
			s.irc(account, account, host, line, channel("#dev"))
		}
	}
	for range 3 {
		ask("a", "h")
	}
	if heard() != 1 {
		t.Errorf("admins heard %d times of one who begins again", heard())
	}
	for i := range 2 * noticesHost {
		ask(fmt.Sprint("b", i), "h")
	}
	if heard() != noticesHost {
		t.Errorf("admins heard %d times of one host", heard())
	}
	for i := range 2 * noticesAll {
		ask(fmt.Sprint("c", i), fmt.Sprint("h", i))
	}
	if heard() != noticesAll {
		t.Errorf("admins heard %d times of strangers", heard())
	}
	for _, line := range []string{"!move", "2"} {
		s.irc("bob", "bob", "h", line, channel("#dev"))
	}
	if heard() != noticesAll+1 {
		t.Error("admins did not hear of bob")
	}
	s.now = s.now.Add(25 * time.Hour)
	if ask("a", "h"); heard() != noticesAll+2 {
		t.Error("admins do not hear of a the next day")
	}
}

// deadWorld is a world whose server never answers.
type deadWorld struct{ *stage }

func (deadWorld) Invite(ctx context.Context, _ string) (Invitation, error) {
	<-ctx.Done()
	return Invitation{}, ctx.Err()
}

// TestDeadServer: who asks a server that does not answer hears so, with the place in the
// conversation kept; meanwhile others go on, on IRC and in their chats, and the limits
// count no invitation that was not given.
func TestDeadServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.server = Server{Invites: true, InBand: true}
		s.desk.d.World = deadWorld{s}
		s.irc("alice", "alice", "h", "!move", channel("#dev"))
		began, answer := time.Now(), make(chan string)
		go func() { answer <- s.irc("alice", "alice", "h", "2", channel("#dev")) }()
		synctest.Wait()
		if got := s.irc("bob", "bob", "h2", "!move", channel("#dev")); !strings.Contains(got, "You are bob here") {
			t.Errorf("bob hears %q", got)
		}
		if got := s.desk.Prove(t.Context(), &bridge.Claim{Text: "!move CODE", Person: "bob", Leg: "bot", Rung: policy.Signed}); !strings.Contains(got, "Nothing is asked of you") {
			t.Errorf("bob hears in the chat %q", got)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("others waited %v", took)
		}
		if got := <-answer; !strings.Contains(got, "could not get an invitation") || strings.Contains(got, "yourself") {
			t.Errorf("alice hears %q", got)
		}
		s.desk.d.World = s
		if got := s.irc("alice", "alice", "h", "2", channel("#dev")); !strings.Contains(got, "preauth=") {
			t.Errorf("when it answers again alice hears %q", got)
		}
		if n := len(s.desk.turns.by); n != 0 {
			t.Errorf("%d turns never end", n)
		}
	})
}

// TestTalksAreBounded: what is kept does not grow for ever, and what is old goes.
func TestTalksAreBounded(t *testing.T) {
	s := newStage(t)
	for i := range MaxTalks {
		if err := s.store.PutTalk(t.Context(), migrate.Talk{ID: fmt.Sprint("corp/x", i), At: s.now, Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.irc("new", "new", "h", "!move", channel("#dev")); !strings.Contains(got, "Too many people") {
		t.Error(got)
	}
	s.now = s.now.Add(Idle + time.Hour)
	if got := s.irc("new", "new", "h", "!move", channel("#dev")); !strings.Contains(got, "Step 1") {
		t.Error(got)
	}
	if all, _ := s.store.Talks(t.Context()); len(all) != 1 {
		t.Errorf("%d conversations are kept", len(all))
	}
}

// TestSayTo: who is asked outside of the conversation reads its language, from the turn on
// that changed it; others the bridge's.
func TestSayTo(t *testing.T) {
	const english, german = "what was asked has ended meanwhile", "was gefragt war, ist inzwischen zu Ende"
	s := newStage(t)
	for _, line := range []string{"!move", "alice@corp.example", "pidgin", "next"} {
		s.irc("alice", "Alice", "h", line, channel("#dev"))
	}
	if s.asked != english {
		t.Errorf("at first: %q", s.asked)
	}
	if s.irc("alice", "Alice", "h", "!move deutsch", channel("#dev")); s.asked != german {
		t.Errorf("asked again in another language: %q", s.asked)
	}
	for _, tt := range []struct{ network, account, want string }{
		{"corp", "alice", german}, {"corp", "ALICE", german}, {"corp", "new", english}, {"corp", "", english}, {"", "", english}, {"other", "alice", english},
	} {
		if got := s.desk.SayTo(t.Context(), tt.network, tt.account, "link_over", nil); got != tt.want {
			t.Errorf("%s/%s reads %q", tt.network, tt.account, got)
		}
	}
	s.now = s.now.Add(Idle + time.Hour)
	if got := s.desk.SayTo(t.Context(), "corp", "alice", "link_over", nil); got != english {
		t.Errorf("long after: %q", got)
	}
	s.desk.Reload([]Bridge{{Name: "ops", Channels: []bridge.Room{channel("#ops")}, Language: "deutsch"}})
	for network, want := range map[string]string{"corp": german, "": german, "other": english} {
		if got := s.desk.SayTo(t.Context(), network, "new", "link_over", nil); got != want {
			t.Errorf("a German bridge: %q reads %q", network, got)
		}
	}
}

// TestNothingSecretIsKept: neither the code of the test nor that of the link.
func TestNothingSecretIsKept(t *testing.T) {
	s := newStage(t)
	s.usable, s.links["alice"] = "otr", "alice"
	for _, line := range []string{"!move", "1", "5", "next"} {
		s.irc("alice", "alice", "h", line, channel("#dev"))
	}
	all, _ := s.store.Talks(t.Context())
	if len(all) != 1 || all[0].Step != string(Test) || strings.Contains(string(all[0].Data), "CODE1") {
		t.Errorf("%+v", all)
	}
}

// FuzzAside: whatever anybody says, there is an answer or none, and a state that can be
// read again.
func FuzzAside(f *testing.F) {
	f.Add("!move\n2\nalice@corp.example\n5\nnext", true)
	f.Add("!move back\n!move DEUTSCH\n{jid}\n!move stop", false)
	f.Fuzz(func(t *testing.T, lines string, logged bool) {
		s := newStage(t)
		s.server, s.usable = Server{Invites: true}, "otr"
		for line := range strings.Lines(lines) {
			if len(strings.Fields(line)) == 0 {
				continue
			}
			account := ""
			if logged {
				account = "alice"
			}
			if got := s.irc("alice", account, "h", line, channel("#dev")); strings.Contains(got, "noted it") || len(got) > 8000 {
				t.Fatalf("%q: %s", line, got)
			}
			s.start()
		}
	})
}
