package guard

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"drawbridge/policy"
)

// Act is one line of the audit.
type Act struct {
	Seq    int64
	At     time.Time
	Room   string // its name below rooms:; "": all
	Place  string // "corp/#finance"
	Who    string // the subject as people write it: nick!user@host, JID
	Person string // whom it is proven to be
	Do     policy.Do
	Effect policy.Effect
	Basis  policy.Basis
	Rule   string
	Acts   string // what was done: policy.Acts in words, or an admin's order
	Facts  policy.Facts
	Actor  string // "guard", or the admin
	Result string // "sent", "dry run", "refused: …", "over the budget"
	Undo   string // the order that takes it back
	// Hash is the SHA-256 over the hash before and this line.
	Hash [32]byte
}

// Query picks acts; zero fields pick all.
type Query struct {
	Who   string // nick, nick!user@host, person, account, JID or admin
	Room  string // its name, or its place
	Since time.Time
	Last  int // only so many, the newest
}

// ErrChain is returned by Acts where the audit was altered.
var ErrChain = errors.New("guard: the audit's chain of hashes is broken")

// Fits reports whether an act is asked for, whatever Last says.
func (q *Query) Fits(a *Act) bool {
	if q.Room != "" && !strings.EqualFold(q.Room, a.Room) && !strings.EqualFold(q.Room, a.Place) || a.At.Before(q.Since) {
		return false
	}
	if q.Who == "" {
		return true
	}
	nick, _, _ := strings.Cut(a.Who, "!")
	names := []string{a.Who, nick, a.Person, a.Actor, a.Facts.Nick, a.Facts.Account.Value, a.Facts.JID.Value}
	return slices.ContainsFunc(names, func(name string) bool { return name != "" && strings.EqualFold(name, q.Who) })
}

// Line is the act as it is kept and hashed: JSON, without number and hash. Facts that
// are unknown are left out.
func (a *Act) Line() ([]byte, error) { return json.Marshal(a.words()) }

// ParseAct reads what Line wrote. Number and hash are the caller's.
func ParseAct(line []byte) (Act, error) {
	var w actWords
	if err := json.Unmarshal(line, &w); err != nil {
		return Act{}, err
	}
	return w.act()
}

// Chain is the hash of the act of that number, after the one with the hash before;
// before the first act, that is zero.
func Chain(before [32]byte, seq int64, line []byte) (sum [32]byte) {
	h := sha256.New()
	_, _ = h.Write(binary.BigEndian.AppendUint64(before[:], uint64(seq))) // never fails
	_, _ = h.Write(line)
	h.Sum(sum[:0])
	return sum
}

// MarshalJSON writes the act with its number and hash, for people's programs.
func (a Act) MarshalJSON() ([]byte, error) {
	w := a.words()
	w.Seq, w.Hash = a.Seq, hex.EncodeToString(a.Hash[:])
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (a *Act) UnmarshalJSON(text []byte) error {
	var w actWords
	if err := json.Unmarshal(text, &w); err != nil {
		return err
	}
	out, err := w.act()
	if err != nil {
		return err
	}
	hash, err := hex.DecodeString(w.Hash)
	if err != nil || len(hash) != len(out.Hash) {
		return errors.New("guard: an act without its hash")
	}
	out.Seq = w.Seq
	copy(out.Hash[:], hash)
	*a = out
	return nil
}

// actWords is an Act as JSON has it.
type actWords struct {
	Seq    int64      `json:"seq,omitempty"`
	At     time.Time  `json:"at"`
	Room   string     `json:"room,omitempty"`
	Place  string     `json:"place,omitempty"`
	Who    string     `json:"who,omitempty"`
	Person string     `json:"person,omitempty"`
	Do     string     `json:"do"`
	Effect string     `json:"effect"`
	Basis  string     `json:"basis"`
	Rule   string     `json:"rule,omitempty"`
	Acts   string     `json:"acts,omitempty"`
	Facts  factsWords `json:"facts,omitzero"`
	Actor  string     `json:"actor,omitempty"`
	Result string     `json:"result,omitempty"`
	Undo   string     `json:"undo,omitempty"`
	Hash   string     `json:"hash,omitempty"`
}

func (a *Act) words() actWords {
	return actWords{
		At: a.At.UTC(), Room: a.Room, Place: a.Place, Who: a.Who, Person: a.Person, Do: a.Do.String(), Effect: a.Effect.String(), Basis: nameOf(basisNames, a.Basis),
		Rule: a.Rule, Acts: a.Acts, Facts: wordsOf(&a.Facts), Actor: a.Actor, Result: a.Result, Undo: a.Undo,
	}
}

func (w *actWords) act() (a Act, err error) {
	a = Act{At: w.At, Room: w.Room, Place: w.Place, Who: w.Who, Person: w.Person, Rule: w.Rule, Acts: w.Acts, Actor: w.Actor, Result: w.Result, Undo: w.Undo}
	if a.Do, err = policy.ParseDo(w.Do); err != nil {
		return Act{}, err
	}
	if a.Effect, err = policy.ParseEffect(w.Effect); err != nil {
		return Act{}, err
	}
	if a.Basis, err = parseName[policy.Basis](basisNames, w.Basis); err != nil {
		return Act{}, err
	}
	a.Facts, err = w.Facts.facts()
	return a, err
}
