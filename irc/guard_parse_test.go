package irc

import (
	"strings"
	"testing"
	"unicode"

	"drawbridge/bridge"
	"drawbridge/policy"
)

func TestParseCertFP(t *testing.T) {
	const fp = "662a04761e80abee92d3d9ae8cad234e"
	for _, tt := range []struct{ text, want string }{
		{"has TLS (SSL) client certificate fingerprint " + fp, fp},
		{"has client certificate fingerprint " + strings.ToUpper(fp), fp},
		{"fingerprint 66:2a:04:76:1e:80:ab:ee:92:d3:d9:ae:8c:ad:23:4e", fp},
		{"has a client certificate", ""},
		{"fingerprint deadbeef", ""},
		{"", ""},
	} {
		if got := parseCertFP(tt.text); got != tt.want {
			t.Errorf("parseCertFP(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestIsSplit(t *testing.T) {
	for reason, want := range map[string]bool{
		"a.test b.test":             true,
		"*.net *.split":             true,
		"irc-1.example.org hub.net": true,
		"Quit: a.test b.test":       false,
		"a.test b.test c.test":      false,
		"a.test  b.test":            false,
		"bye bye.":                  false,
		"see you":                   false,
		"a.test":                    false,
		"":                          false,
	} {
		if got := isSplit(reason); got != want {
			t.Errorf("isSplit(%q) = %v", reason, got)
		}
	}
}

func TestMeasure(t *testing.T) {
	leg, err := New(Config{Name: "net", Servers: []string{"h:1"}, TLSOff: true, Nick: "bot"}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(leg, leg.cfg, link{}, &feed{}, nil)
	c := &channel{name: "#dev", members: map[string]*member{}}
	for _, nick := range []string{"alice", "bob[m]", "carol"} {
		s.add(c, nick, "", "")
	}
	plain := s.measure(c, "buy this now")
	for _, tt := range []struct {
		body string
		same bool
		want policy.Said // without Hash
	}{
		{"buy this now", true, policy.Said{Letters: 10}},
		{"BUY  This\tnow ", true, policy.Said{Letters: 10, Capitals: 4}},
		{"\x02buy\x0f \x0304,12this\x03 \x0412ab9fnow", true, policy.Said{Letters: 10}},
		{"\x01ACTION buy this now\x01", true, policy.Said{Letters: 10}},
		{"buy that now", false, policy.Said{Letters: 10}},
		{"alice: bob[m], ALICE @carol!", false, policy.Said{Letters: 19, Capitals: 5, Highlights: 3}},
		{"alicealice", false, policy.Said{Letters: 10}},
		{"GRÜSSE", false, policy.Said{Letters: 6, Capitals: 6}},
	} {
		got := s.measure(c, tt.body)
		if same := got.Hash == plain.Hash; same != tt.same {
			t.Errorf("%q is the same line: %v", tt.body, same)
		}
		if got.Hash = 0; got != tt.want {
			t.Errorf("%q is %+v, want %+v", tt.body, got, tt.want)
		}
	}
	other, err := New(Config{Name: "net", Servers: []string{"h:1"}, TLSOff: true, Nick: "bot"}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if newSession(other, other.cfg, link{}, &feed{}, nil).measure(c, "buy this now").Hash == plain.Hash {
		t.Error("the hash is not keyed: whoever knows it could aim")
	}
}

func TestKickTargets(t *testing.T) {
	for _, tt := range []struct {
		tokens, version string
		want            int
	}{
		{"TARGMAX=KICK:4", "UnrealIRCd-6.1.0", 4},
		{"TARGMAX=KICK:", "ergo-2.11.1", manyKicks},
		{"TARGMAX=KICK:1", "solanum-1.0", 1},
		{"MAXTARGETS=20", "InspIRCd-3", 20},
		{"MAXTARGETS=100000", "InspIRCd-3", manyKicks},
		{"MODES=5", "ngircd-26.1", manyKicks},
		{"MODES=3", "u2.10", 1},
	} {
		s := &session{state: newState()}
		s.isupport.software = policy.ParseSoftware(tt.version)
		for token := range strings.FieldsSeq(tt.tokens) {
			s.isupport.apply(token)
		}
		if got := s.kickTargets(); got != tt.want {
			t.Errorf("%s on %s: %d, want %d", tt.tokens, tt.version, got, tt.want)
		}
	}
}

// ChanServ's answers that are none.
func TestChanServSaysNo(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
	}{
		{"not registered", []string{"Channel \x02#dev\x02 is not registered."}},
		{"no right to see the list", []string{"Information on #dev:", "*** End of Info ***", "You are not authorized to perform this operation."}},
		{"commands that are not loaded", []string{"Invalid command. Use /msg ChanServ help for a command listing.", "Invalid command. Use /msg ChanServ help for a command listing."}},
	} {
		k := keptByServices{name: "#dev"}
		for i, line := range tt.lines {
			if k.done() {
				t.Errorf("%s: done before line %d", tt.name, i)
			}
			k.line(line)
		}
		if !k.done() || k.mlock != "" || k.access != nil {
			t.Errorf("%s: %+v", tt.name, k)
		}
	}
}

func FuzzChanServ(f *testing.F) {
	for _, s := range []string{
		"Mode lock  : +nt-i", "Flags      : KEEPTOPIC TOPICLOCK", "*** End of Info ***", "End of #c FLAGS listing.",
		"1     alice                  +AFORaefhioqrstv     (#c) [modified 4s ago]", "1 a +", "2 b c", "Flags :", "", "\x02\x0304,",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k := keptByServices{name: "#c"}
		for line := range strings.Lines(text) {
			k.line(line)
		}
		for who, flags := range k.access {
			if who == "" || strings.ContainsAny(who+flags, " \r\n") {
				t.Fatalf("access %q = %q", who, flags)
			}
		}
	})
}

func FuzzMeasure(f *testing.F) {
	for _, s := range []string{"hello ALICE", "\x03", "\x0304,", "\x04abcdef,123456x", "\x01ACTION \xff\xfe\x01", "bob[m]"} {
		f.Add(s)
	}
	leg, err := New(Config{Name: "net", Servers: []string{"h:1"}, TLSOff: true, Nick: "bot"}, Deps{})
	if err != nil {
		f.Fatal(err)
	}
	s := newSession(leg, leg.cfg, link{}, &feed{}, nil)
	c := &channel{name: "#dev", members: map[string]*member{}}
	s.add(c, "alice", "", "")
	f.Fuzz(func(t *testing.T, body string) {
		said := s.measure(c, body)
		if said != s.measure(c, body) || said.Capitals > said.Letters || said.Highlights > 1 {
			t.Fatalf("%q is %+v", body, said)
		}
		for _, r := range stripFormat(decode(body)) {
			if r < 0x80 && unicode.IsControl(r) {
				t.Fatalf("%q is left in %q", r, body)
			}
		}
	})
}

func FuzzModes(f *testing.F) {
	f.Add("+ovk-b", "alice bob key *!*@*")
	f.Add("beI", "")
	f.Add("++--", "x")
	f.Fuzz(func(t *testing.T, modes, params string) {
		i := newISupport()
		n, args := 0, strings.Fields(params)
		for ch := range i.changes(modes, args) {
			n++
			if (ch.kind == modeFlag || ch.kind == modeSet && !ch.on) && ch.arg != "" {
				t.Fatalf("%s takes no argument", ch)
			}
		}
		if n > len(modes) {
			t.Fatalf("%d changes in %q", n, modes)
		}
	})
}

// gaze is a watcher that looks at the channel and at everybody it sees.
type gaze struct {
	tb  testing.TB
	leg *Leg
	s   func() *session
}

func (g *gaze) See(s *bridge.Sight) {
	if s.Room.Name != "" && s.Room != Room("net", "#dev") {
		g.tb.Fatalf("a sight of %s", s.Room)
	}
	for _, text := range []string{s.Text, s.What} {
		if len(text) > 2*maxLine || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			g.tb.Fatalf("a sight says %q", text)
		}
	}
	session := g.s()
	switch s.Kind {
	case bridge.SightReady:
		reply := make(chan *bridge.Observed, 1)
		session.call(call{do: func() { session.observe(s.Room, reply) }})
	case bridge.SightHere, bridge.SightCame, bridge.SightSaid:
		session.lookups.mu.Lock()
		session.lookups.waiting = append(session.lookups.waiting, lookup{s.Room, s.Facts.Nick, policy.MissingAccount | policy.MissingTLS | policy.MissingCert})
		session.lookups.mu.Unlock()
		session.call(call{})
	}
}

const guardWelcome = ":irc.test CAP * LS :account-tag batch extended-join message-tags labeled-response\r\n" +
	":irc.test CAP * ACK :account-tag batch extended-join labeled-response message-tags\r\n" +
	":irc.test 001 bot :Welcome bot!b@h\r\n:irc.test 004 bot irc.test InspIRCd-3 a b\r\n" +
	":irc.test 005 bot CHANMODES=Ibeq,k,l,imnpst EXTBAN=,NRUmz MONITOR=30 WHOX :x\r\n:irc.test 376 bot :End\r\n" +
	":irc.test 730 bot :NickServ\r\n:bot!b@h JOIN #dev * :b\r\n:irc.test 353 bot = #dev :@bot!b@h alice!a@h\r\n:irc.test 366 bot #dev :x\r\n"

// FuzzGuard runs a guarded session over what a server says.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{
		"", "PONG x :db-1\r\nPONG x :db-2\r\nPONG x :db-3\r\n:eve!e@h JOIN #dev * :x\r\n:eve!e@h PRIVMSG #dev :hi\r\n",
		":irc.test 354 bot 801 #dev a h alice H@s :alice\r\n:irc.test 352 bot #dev a h s alice Hs :0 x\r\nPONG x :db-4\r\n",
		":irc.test 311 bot alice a h * :x\r\n:irc.test 330 bot alice alice :x\r\n:irc.test 671 bot alice :x\r\n:irc.test 276 bot alice :fp 00\r\n:irc.test 318 bot alice :x\r\n",
		":irc.test 731 bot :NickServ\r\n:irc.test 730 bot :NickServ!a@b,x\r\n:irc.test 303 bot :NickServ\r\n:irc.test 401 bot NickServ :x\r\n",
		":irc.test MODE #dev +oq-k+b alice bot x\r\n:alice QUIT :a.b c.d\r\n:irc.test 710 bot #dev e!e@h :x\r\n:irc.test NOTICE @#dev :[Knock] by e!e@h (x)\r\n",
		":irc.test 367 bot #dev x y 1\r\n:irc.test 728 bot #dev q x y 1\r\n:irc.test 368 bot #dev :x\r\n:irc.test 482 bot #dev :x\r\n:irc.test 742 bot #dev i i :x\r\n",
		"@inspircd.org/service :ChanServ!c@s NOTICE bot :Mode lock : +n\r\n@inspircd.org/service :ChanServ!c@s NOTICE bot :\x01VERSION atheme\x01\r\n",
		":bot!b@h NICK x\r\n:alice!a@h KICK #dev x :y\r\n:irc.test 005 x -WHOX CASEMAPPING=rfc1459 :x\r\n:irc.test 421 x SSLINFO :x\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		leg, err := New(Config{Name: "net", Servers: []string{"irc.test:6667"}, TLSOff: true, Nick: "bot", Channels: []ChannelConfig{{Name: "#dev"}}}, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		conn := &feed{Reader: strings.NewReader(guardWelcome + lines)}
		var s *session
		leg.Watch(&gaze{tb: t, leg: leg, s: func() *session { return s }}, []bridge.Room{Room("net", "#dev")})
		sink := &deadEnd{}
		s = newSession(leg, leg.cfg, link{}, conn, sink.Prove)
		if err := s.run(t.Context(), sink); err == nil {
			t.Fatal("a session ended without an error")
		}
		for line := range strings.SplitSeq(conn.wrote.String(), "\r\n") {
			if len(line) > maxLine || strings.ContainsAny(line, "\r\n\x00") {
				t.Fatalf("we sent %q", line)
			}
		}
		if len(s.whois) > maxWhois || len(s.lookQueue) > maxLookups || len(s.merging.gone) > maxSplit {
			t.Fatalf("%d WHOIS, %d wait, %d split", len(s.whois), len(s.lookQueue), len(s.merging.gone))
		}
	})
}
