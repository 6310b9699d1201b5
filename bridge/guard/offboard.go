package guard

import (
	"context"
)

// OffBoard ends what somebody was given beside the policy, tickets, stays and links,
// because of why, and notes it as one act. It comes after the Reload with the policy in
// which they have lost their rights: that judges them anew wherever they are.
func (g *Guard) OffBoard(person, why string) {
	g.endTickets(func(t *Ticket) bool { return t.Person == person })
	g.scribe.keep("off-board "+person, func(ctx context.Context, s Store) error {
		k, err := s.Load(ctx)
		if err != nil {
			return err
		}
		var ids []string
		for i := range k.Links {
			if k.Links[i].Person == person {
				ids = append(ids, k.Links[i].ID)
			}
		}
		return s.Drop(ctx, ids...)
	})
	g.newKeys()
	g.scribe.note(&Act{At: g.now(), Who: person, Person: person, Acts: "off-boarding", Actor: actorGuard, Result: why})
}
