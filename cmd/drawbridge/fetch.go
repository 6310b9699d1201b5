package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"drawbridge/internal/config"
	"drawbridge/internal/keyfetch"
)

// fetchEvery is how often each key is asked for, give or take a quarter: a revoked
// key is used for a day at most, and servers are not all asked at once. The first
// time is soon after the start.
const (
	fetchEvery = 24 * time.Hour
	fetchFirst = 2 * time.Minute
	fetchTick  = 15 * time.Second
)

// learnedFolder is where the store keeps what keys were found to have beside what is
// in keyring.paths: renewals, revocations.
const learnedFolder = "keys"

// keepLearned makes the keyring remember over restarts what it learns.
func (k *keys) keepLearned(c *config.Config, log *slog.Logger) {
	if c.Store.Memory {
		return
	}
	if err := k.ring.KeepLearned(filepath.Join(c.Store.Path, learnedFolder)); err != nil {
		log.Error("keys that were fetched before are not read", "err", err)
	}
	k.tellDamaged(log)
}

// readLearned reads what a bot has learnt, without being it, and returns what of it
// cannot be read.
func (k *keys) readLearned(c *config.Config) []error {
	folder := filepath.Join(c.Store.Path, learnedFolder)
	if _, err := os.Stat(folder); err != nil || c.Store.Memory {
		return nil
	}
	return append(split(k.ring.KeepLearned(folder)), k.ring.Damaged()...)
}

// tellDamaged logs what was learnt and cannot be read any more.
func (k *keys) tellDamaged(log *slog.Logger) {
	for _, err := range k.ring.Damaged() {
		log.Error("a key that was fetched is damaged", "err", err)
	}
}

// wanted is a key that is to be fetched, and where its owner is.
type wanted struct {
	fpr       string
	addresses []string
}

// wantedKeys are the keys that count: those of people of bridges, and the
// authority's. No other is ever asked for.
func wantedKeys(c *config.Config, k *keys) []wanted {
	var out []wanted
	for _, p := range bridgedPeople(c) {
		for _, fpr := range k.withKeys(c, p).OpenPGP {
			out = append(out, wanted{fpr, uniq(append(slices.Clone(p.JIDs), k.ring.Addresses(fpr)...))})
		}
	}
	if a := c.Keyring.Authority; a != "" {
		out = append(out, wanted{a, k.ring.Addresses(a)})
	}
	return out
}

// fetchKeys refreshes keys from keyring.fetch until ctx ends.
func (b *bot) fetchKeys(ctx context.Context) {
	tick := time.NewTicker(fetchTick)
	defer tick.Stop()
	due := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b.mu.Lock()
		cfg, k := b.cfg, b.keys
		b.mu.Unlock()
		if len(cfg.Keyring.Fetch) == 0 {
			continue
		}
		if w, ok := nextWanted(wantedKeys(cfg, k), due, time.Now()); ok {
			client, err := keyfetch.New(cfg.Keyring.Fetch, nil)
			if err != nil { // config has checked them
				b.log.Error("keys not fetched", "err", err)
				continue
			}
			b.refresh(ctx, client, k, w)
		}
	}
}

// nextWanted returns the key that is due, one at a time, and enters when it will be
// again. due loses those that are not wanted any more.
func nextWanted(list []wanted, due map[string]time.Time, now time.Time) (wanted, bool) {
	known := map[string]bool{}
	found := -1
	for i, w := range list {
		known[w.fpr] = true
		if _, ok := due[w.fpr]; !ok {
			due[w.fpr] = now.Add(rand.N(fetchFirst))
		}
		if found < 0 && !now.Before(due[w.fpr]) {
			found = i
		}
	}
	for fpr := range due {
		if !known[fpr] {
			delete(due, fpr)
		}
	}
	if found < 0 {
		return wanted{}, false
	}
	due[list[found].fpr] = now.Add(fetchEvery*3/4 + rand.N(fetchEvery/2))
	return list[found], true
}

// refresh asks for one key and takes what is new of it.
func (b *bot) refresh(ctx context.Context, client *keyfetch.Client, k *keys, w wanted) {
	found, err := client.Fetch(ctx, w.fpr, w.addresses)
	switch {
	case ctx.Err() != nil:
		return
	case errors.Is(err, keyfetch.ErrNotFound):
		b.log.Debug("key is nowhere to be fetched", "fpr", w.fpr)
		return
	case err != nil:
		b.log.Warn("key not fetched from everywhere", "fpr", w.fpr, "err", err)
	}
	changed := false
	for _, data := range found {
		more, err := k.ring.Learn(data, w.fpr, time.Now())
		if err != nil {
			b.log.Warn("fetched key not taken", "fpr", w.fpr, "err", err)
		}
		changed = changed || more
	}
	if !changed {
		return
	}
	b.log.Info("key refreshed", "fpr", w.fpr)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keysChanged()
}

func uniq(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
