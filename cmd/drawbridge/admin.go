package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"drawbridge/internal/admin"
	"drawbridge/internal/config"
)

// adminRows is the table of what the running bot answers at its socket. A new
// verb is one row here and one cobra command.
func adminRows(b *bot) []admin.Row {
	return append(slices.Concat(storeRows(b), trustRows(b), otrRows(b), guardRows(b.guardOrders, b.links), migrateRows(b.migrateOrders)), []admin.Row{
		{Verb: "status", Needs: admin.Look, Handle: func(context.Context, json.RawMessage) (any, error) {
			return b.status(), nil
		}},
		{Verb: "audit", Needs: admin.Look, Handle: func(ctx context.Context, _ json.RawMessage) (any, error) { return b.audit(ctx) }},
		{Verb: "reload", Needs: admin.Change, Handle: func(context.Context, json.RawMessage) (any, error) {
			ch, err := b.reload()
			if err != nil {
				return nil, refusal(err)
			}
			return ch, nil
		}},
		provisionRow(b),
		{Verb: "doctor", Needs: admin.Look, Handle: func(context.Context, json.RawMessage) (any, error) {
			return b.examine(), nil
		}},
	}...)
}

// refusal makes a refused configuration an error with the exit code for it.
func refusal(err error) error {
	var list config.Errors
	var one config.Error
	code := exitFailed
	if errors.As(err, &list) || errors.As(err, &one) {
		code = exitMisuse
	}
	return &admin.Error{Err: err, Code: code}
}
