package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"drawbridge/bridge/guard"
	"drawbridge/bridge/link"
	"drawbridge/internal/admin"
	"drawbridge/internal/config"
	"drawbridge/policy"
)

func newSimulate(g *globals) *cobra.Command {
	var a guardArgs
	cmd := &cobra.Command{
		Use:   "simulate FILE",
		Short: "Show on whom another configuration would have decided otherwise",
		Long: `Judge what stands in the audit anew by the rooms, rules and people of another
configuration FILE, with the facts of then and the accounts that are linked now, and
print each act on which it would have decided otherwise, and why. Of keys, those count
that FILE lists or its keyring.authority certified; those that were accepted (drawbridge
trust) do not. Nothing is changed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			links, err := g.heldLinks(cmd)
			if err != nil {
				return err
			}
			spec, err := g.specOf(args[0], links)
			if err != nil {
				return err
			}
			var broken error
			acts := func(yield func(guard.Act, error) bool) {
				stopped := false
				err := g.eachPage(cmd, a, func(page auditPage) {
					for i := range page.Acts {
						stopped = stopped || !yield(page.Acts[i], nil)
					}
					if len(page.Broken) > 0 {
						broken = errors.New(page.Broken[0])
					}
				})
				if err != nil && !stopped {
					yield(guard.Act{}, err)
				}
			}
			out, err := guard.Replay(spec, iter.Seq2[guard.Act, error](acts))
			if err != nil {
				return err
			}
			if err := g.printSimulation(&out); err != nil {
				return err
			}
			if broken != nil {
				return failed(broken, "drawbridge store check")
			}
			return nil
		},
	}
	for _, name := range []string{"who", "room", "since"} {
		(&guardOrder{flags: []string{name}}).bind(cmd.Flags(), &a)
	}
	jsonFlag(cmd, g)
	return cmd
}

// heldLinks are the accounts that are linked to people, of the running bot or of its
// store.
func (g *globals) heldLinks(cmd *cobra.Command) ([]guard.Link, error) {
	var out struct{ Result []guard.Link }
	err := g.call(cmd, "guard links", guardArgs{}, &out)
	if !errors.Is(err, admin.ErrNotRunning) {
		return out.Result, err
	}
	st, err := g.openStored()
	if err != nil {
		return nil, err
	}
	defer closeStore(st, newQuiet())
	kept, err := st.Guard().Load(cmd.Context())
	if err != nil {
		return nil, storeFailed(err)
	}
	return kept.Links, nil
}

// specOf reads the policy of another configuration, with those links.
func (g *globals) specOf(path string, links []guard.Link) (spec policy.Spec, err error) {
	if spec, err = otherSpec(path, links); err != nil {
		printErrors(g.err, err)
		return spec, misused(fmt.Errorf("%s is not usable", path), "drawbridge check --config "+path)
	}
	return spec, nil
}

// otherSpec reads the policy of the configuration at path, with those links.
func otherSpec(path string, links []guard.Link) (policy.Spec, error) {
	c, err := config.Load(path, loadOptions())
	if err != nil {
		return policy.Spec{}, err
	}
	k, err := openKeys(c, nil, nil, newQuiet())
	if err != nil {
		return policy.Spec{}, err
	}
	return policySpec(c, k, link.New(linkConfig(c, policyPeople(c, k), nil), link.Deps{Kept: guard.Kept{Links: links}})), nil
}

func (g *globals) printSimulation(out *guard.Simulation) error {
	if g.json {
		type difference struct {
			Act    guard.Act `json:"act"`
			Effect string    `json:"effect"`
			Rule   string    `json:"rule,omitempty"`
			Why    string    `json:"why"`
		}
		all := []difference{}
		for _, d := range out.Differences {
			all = append(all, difference{d.Act, d.Now.Effect.String(), d.Now.Rule, d.Why})
		}
		return json.NewEncoder(g.out).Encode(map[string]any{"read": out.Read, "differences": all})
	}
	for i := range out.Differences {
		g.sayLines(differenceText(&out.Differences[i]))
	}
	sayln(g.out, simulationText(out))
	return nil
}

// differenceText is one act on which another policy decides otherwise, and why.
func differenceText(d *guard.Difference) string {
	return d.Act.String() + "\n  now: " + d.Now.Effect.String() + "\n" + d.Why
}

// simulationText counts.
func simulationText(out *guard.Simulation) string {
	return fmt.Sprintf("%s read, %d decided otherwise", count(out.Read, "decision"), len(out.Differences))
}

// simulate is the order in a chat: the answer begins with the figures, since what is long
// is cut.
func simulate(ctx context.Context, o guardOn, a guardArgs, _ string) (guardAnswer, error) {
	spec, err := o.other(a.File)
	if err != nil {
		return guardAnswer{}, err
	}
	out, err := o.Simulate(ctx, guard.Query{Who: a.Who, Room: a.Room, Since: a.Since}, spec)
	if err != nil && !errors.Is(err, guard.ErrChain) {
		return guardAnswer{}, err
	}
	text := simulationText(&out)
	if err != nil {
		text += "\n! " + err.Error() + ": what follows it was not read"
	}
	for i := range out.Differences {
		text += "\n" + strings.TrimSuffix(differenceText(&out.Differences[i]), "\n")
		if strings.Count(text, "\n") > chatLines {
			text += fmt.Sprintf("\n… and %d more", len(out.Differences)-i-1)
			break
		}
	}
	return guardAnswer{Text: text}, nil
}

// Errors of the file that an admin names in a chat. They say nothing of what is in it.
var (
	errBeside = errors.New("name a file beside the configuration in use, as new.yaml, without a folder")
	errNoFile = errors.New("there is no such file beside the configuration in use")
	errUnfit  = errors.New("that file is no configuration that could be used: drawbridge check --config FILE, on the machine, says why")
)

// besideSpec reads the policy of another configuration for an admin in a chat, who may
// read nothing else of the machine by that: a plain name in the folder of the
// configuration in use.
func (b *bot) besideSpec(name string) (policy.Spec, error) {
	ext := filepath.Ext(name)
	if ext != ".yaml" && ext != ".yml" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\\x00") || filepath.Base(name) != name {
		return policy.Spec{}, errBeside
	}
	path := filepath.Join(filepath.Dir(b.path), name)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return policy.Spec{}, errNoFile
	}
	spec, err := otherSpec(path, b.links.List())
	if err != nil {
		b.log.Warn("a configuration to simulate is not usable", "rule", name)
		return policy.Spec{}, errUnfit
	}
	return spec, nil
}
