package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"drawbridge/bridge/migrate"
)

// testMoves is one of everything a migration keeps.
func testMoves(at time.Time) migrate.Kept {
	day := at.Format(time.DateOnly)
	return migrate.Kept{
		States: []migrate.State{{Bridge: "dev", Phase: migrate.ReadOnly, Since: at, By: "alice", Told: time.Hour, Known: []time.Time{at}}},
		Days:   []migrate.Day{{Bridge: "dev", Date: day, Lines: map[string]int{"corp/clear": 3, "bot/verified": 5}, All: 8, Encrypted: 5, Phase: migrate.ReadOnly, Speakers: 2, Linked: 1}},
		Speakers: []migrate.Speaker{
			{SpeakerID: migrate.SpeakerID{Bridge: "dev", Leg: "bot", Kind: "person", Name: "alice"}, First: at, Last: at, Lines: 5},
			{SpeakerID: migrate.SpeakerID{Bridge: "dev", Leg: "corp", Kind: "nick", Name: "whoever"}, Shown: "Whoever", First: at, Last: at, Lines: 3, Clear: 3},
		},
		Refusals: []migrate.Refusal{{RefusalID: migrate.RefusalID{Leg: "corp", Name: "shy"}, At: at}},
	}
}

func putMoves(t *testing.T, s migrate.Store, k migrate.Kept) {
	t.Helper()
	errs := []error{s.PutCounts(t.Context(), k.Days, k.Speakers, nil), s.PutTalk(t.Context(), migrate.Talk{ID: "corp/whoever", Step: "account", At: oldTime, Data: []byte("x")})}
	for _, x := range k.States {
		errs = append(errs, s.PutState(t.Context(), x))
	}
	for _, x := range k.Refusals {
		errs = append(errs, s.PutRefusal(t.Context(), x))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wantMoves(t *testing.T, s migrate.Store, want migrate.Kept) {
	t.Helper()
	if got, err := s.Load(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("kept\n%+v, %v, want\n%+v", got, err, want)
	}
	if x, ok, err := s.Talk(t.Context(), "corp/whoever"); !ok || err != nil || x.Step != "account" || string(x.Data) != "x" {
		t.Errorf("talk %+v, %v, %v", x, ok, err)
	}
	if all, err := s.Talks(t.Context()); len(all) != 1 || err != nil {
		t.Errorf("talks %+v, %v", all, err)
	}
}

// TestMoveStores: what was put is there again, also in the next process, and what is
// dropped or old is not; in memory and on disk alike.
func TestMoveStores(t *testing.T) {
	for _, kind := range []string{"memory", "disk"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			var s migrate.Store = migrate.NewMemory()
			reopen := func() {}
			if kind == "disk" {
				st := openTest(t, Config{Dir: dir}, Deps{})
				s = st.Migrate()
				reopen = func() {
					if err := st.Close(); err != nil {
						t.Fatal(err)
					}
					st = openTest(t, Config{Dir: dir}, Deps{})
					s = st.Migrate()
				}
			}
			want := testMoves(oldTime)
			putMoves(t, s, want)
			reopen()
			wantMoves(t, s, want)

			want.Days[0].All++
			want.States[0].Phase = migrate.Farewell
			gone := want.Speakers[1]
			if err := errors.Join(
				s.PutState(t.Context(), want.States[0]),
				s.PutCounts(t.Context(), want.Days, nil, []migrate.SpeakerID{gone.SpeakerID}),
				s.DropRefusal(t.Context(), want.Refusals[0].RefusalID),
			); err != nil {
				t.Fatal(err)
			}
			want.Speakers, want.Refusals = want.Speakers[:1], nil
			reopen()
			got, err := s.Load(t.Context())
			if err != nil || len(got.Refusals) != 0 || !reflect.DeepEqual(got.Days, want.Days) || !reflect.DeepEqual(got.States, want.States) || !reflect.DeepEqual(got.Speakers, want.Speakers) {
				t.Errorf("kept\n%+v, %v, want\n%+v", got, err, want)
			}
			if err := s.Forget(t.Context(), oldTime.AddDate(0, 0, 1)); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Load(t.Context()); err != nil || len(got.Days)+len(got.Speakers) != 0 || len(got.States) != 1 {
				t.Errorf("after all is old: %+v, %v", got, err)
			}
			if _, ok, err := s.Talk(t.Context(), "corp/whoever"); ok || err != nil {
				t.Errorf("an old talk is there, %v", err)
			}
		})
	}
}

// TestMoveIsSealed: who spoke, and who refused, stands nowhere on the disk to be read.
func TestMoveIsSealed(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir}, Deps{})
	putMoves(t, s.Migrate(), testMoves(oldTime))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, dbFile+"*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"whoever", "Whoever", "shy", "alice"} {
			if bytes.Contains(b, []byte(word)) {
				t.Errorf("%s holds %q", filepath.Base(f), word)
			}
		}
	}
}
