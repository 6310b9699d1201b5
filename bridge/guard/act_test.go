package guard

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"drawbridge/policy"
)

func testAct() Act {
	at := time.Date(2026, 11, 21, 22, 5, 29, 123456000, time.UTC)
	f := policy.NewIRCFacts("corp", "eve", "eve", "10.0.0.7")
	f.Account = policy.IsNot("extended-join", at)
	f.TLS = policy.Is("", "WHOX", at.Add(-3*time.Millisecond))
	f.Cert = policy.Is("6e6d", "276", at)
	f.Since, f.Admitted, f.Floods, f.BanMissing = at, true, policy.FloodCaps|policy.FloodLines, policy.MissingAccount
	f.Rung, f.RungKnown = policy.Signed, policy.Yes
	f.Ban = &policy.BanRecord{ID: "b1", Person: "eve", Rooms: []string{"finance"}, Author: "alice", Reason: "spam", Set: at, Until: at.Add(time.Hour)}
	return Act{
		Seq: 7, At: at, Room: "finance", Place: "corp/#finance", Who: "eve!eve@10.0.0.7", Person: "eve", Do: policy.Speak, Effect: policy.Ban, Basis: policy.ByBan,
		Rule: "b1", Acts: "kick+ban", Facts: f, Actor: "guard", Result: "sent", Undo: "guard forgive eve corp/#finance", Hash: [32]byte{1, 2, 3},
	}
}

// An act is the same after it was kept, and after it went to a program.
func TestActAsJSON(t *testing.T) {
	want := testAct()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Act
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("from JSON:\n%+v, %v, want\n%+v", got, err, want)
	}
	line, err := want.Line()
	if err != nil {
		t.Fatal(err)
	}
	got, err = ParseAct(line)
	want.Seq, want.Hash = 0, [32]byte{}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("from its line:\n%+v, %v, want\n%+v", got, err, want)
	}
	none, err := (&Act{}).Line()
	if want := `{"at":"0001-01-01T00:00:00Z","do":"join","effect":"allow","basis":"default"}`; err != nil || string(none) != want {
		t.Errorf("nothing known:\n%s, %v, want\n%s", none, err, want)
	}
	for _, bad := range []string{"", "{}", `{"do":"fly","effect":"allow","basis":"rule"}`, `{"do":"join","effect":"allow","basis":"guess"}`, strings.Replace(string(line), `"no"`, `"perhaps"`, 1)} {
		if a, err := ParseAct([]byte(bad)); err == nil {
			t.Errorf("%q is %+v", bad, a)
		}
	}
}

func TestChain(t *testing.T) {
	one := Chain([32]byte{}, 1, []byte("line"))
	for name, other := range map[string][32]byte{
		"another line":   Chain([32]byte{}, 1, []byte("lime")),
		"another number": Chain([32]byte{}, 2, []byte("line")),
		"another before": Chain(one, 1, []byte("line")),
	} {
		if other == one {
			t.Errorf("%s has the same hash", name)
		}
	}
}

func TestQueryFits(t *testing.T) {
	a := testAct()
	a.Facts.Account = policy.Is("eve_", "WHOX", a.At)
	for _, tt := range []struct {
		q    Query
		want bool
	}{
		{Query{}, true},
		{Query{Who: "eve"}, true},
		{Query{Who: "EVE!eve@10.0.0.7"}, true},
		{Query{Who: "eve_"}, true},
		{Query{Who: "guard"}, true},
		{Query{Who: "ev"}, false},
		{Query{Room: "finance", Since: a.At}, true},
		{Query{Room: "corp/#finance"}, true},
		{Query{Room: "lobby"}, false},
		{Query{Since: a.At.Add(1)}, false},
	} {
		if got := tt.q.Fits(&a); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.q, got, tt.want)
		}
	}
}
