package policy

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what Explain says into testdata/explain.txt")

// What people read is held in testdata/explain.txt.
func TestExplain(t *testing.T) {
	p := compiled(t, testSpec())
	at := noon.Add(10*time.Hour + 5*time.Minute + 29*time.Second)
	named := func(f Facts, nick string) Facts { f.Nick, f.User = nick, nick; return f }
	var b strings.Builder
	for _, tt := range []struct {
		name  string
		facts Facts
		event Event
		told  Told
	}{
		{"a stranger without TLS", named(with(onIRC("", No), func(f *Facts) { f.TLS.At = at.Add(-3 * time.Millisecond) }), "eve"), Event{"finance", Join}, Told{"corp/#finance", "sent 0.2 ms after JOIN", "guard forgive eve corp/#finance"}},
		{"a member", named(onIRC("bob", Yes), "bob"), Event{"finance", Join}, Told{}},
		{"services are down", named(onIRC("?", Yes), "bob"), Event{"finance", Join}, Told{Place: "corp/#finance"}},
		{"protected", named(onIRC("alice", No), "alice"), Event{"finance", Join}, Told{}},
		{"on XMPP", inMUC("eve@else.example"), Event{"finance", Join}, Told{}},
		{"a guest", named(onIRC("", Yes), "guest"), Event{"lobby", Join}, Told{}},
		{"a flood", with(named(onIRC("", Yes), "eve"), func(f *Facts) { f.Floods, f.Since = FloodLines|FloodRepeats, at.Add(-time.Minute) }), Event{"lobby", Speak}, Told{}},
		{"a ban", with(named(onIRC("mallory", Yes), "mallory"), func(f *Facts) { f.Ban = &BanRecord{ID: "b1", Until: at.Add(time.Hour)} }), Event{"lobby", Join}, Told{}},
		{"a room without a guard", named(onIRC("", Yes), "eve"), Event{"attic", Join}, Told{}},
	} {
		b.WriteString("== " + tt.name + "\n")
		b.WriteString(Explain(p, &tt.facts, tt.event, Decide(p, &tt.facts, tt.event, at), at, tt.told))
	}
	const path = "testdata/explain.txt"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s", b.String())
	}
}

func BenchmarkExplain(b *testing.B) {
	p, f := compiled(b, testSpec()), onIRC("", No)
	d := Decide(p, &f, Event{"finance", Join}, noon)
	for b.Loop() {
		Explain(p, &f, Event{"finance", Join}, d, noon, Told{})
	}
}
