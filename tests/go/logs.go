// Reads a published log with Go's own packages for transparency logs (golang.org/x/mod/sumdb), which know nothing of Tallyroot:
// checks a checkpoint's signature, every leaf's inclusion, and consistency between any two checkpoints, from tiles.
//
//	logs FOLDER ORIGIN VKEY [VKEY…]
//
// FOLDER is a log's prefix in the published tree. Prints one line: leaves, checkpoints, cosigned checkpoints.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Go's tiles have a height of 8 in their path, and C2SP's do not.
const height = 8

type reader struct{ folder string }

func (r reader) Height() int                                { return height }
func (r reader) SaveTiles(tiles []tlog.Tile, data [][]byte) {}
func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		path := strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(r.folder, "tile", path))
		if os.IsNotExist(err) && tile.W < 1<<height {
			// A superseded partial tile may be gone.
			full := tile
			full.W = 1 << height
			path = strings.TrimPrefix(full.Path(), "tile/8/")
			data, err = os.ReadFile(filepath.Join(r.folder, "tile", path))
			if err == nil {
				data = data[:tile.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

// checkpoint opens a note, and reads its three lines: Go's ParseTree wants its own database's first line.
func checkpoint(path, origin string, verifiers note.Verifiers) tlog.Tree {
	data, err := os.ReadFile(path)
	if err != nil {
		fail("%v", err)
	}
	opened, err := note.Open(data, verifiers)
	if err != nil {
		fail("%s: %v", path, err)
	}
	if len(opened.Sigs) != 1 || len(opened.UnverifiedSigs) != 0 {
		fail("%s: %d signatures, %d unverified", path, len(opened.Sigs), len(opened.UnverifiedSigs))
	}
	rest := strings.TrimPrefix(opened.Text, origin+"\n")
	if rest == opened.Text {
		fail("%s: of another log", path)
	}
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + rest))
	if err != nil {
		fail("%s: %v", path, err)
	}
	return tree
}

// leaves reads the entry bundles: each entry with its length before it, in 16 bits.
func leaves(folder string, size int64) [][]byte {
	var all [][]byte
	for bundle := int64(0); int64(len(all)) < size; bundle++ {
		width := size - bundle*256
		if width > 256 {
			width = 256
		}
		tile := tlog.Tile{H: height, L: 0, N: bundle, W: int(width)}
		path := strings.TrimPrefix(tile.Path(), "tile/8/0/")
		data, err := os.ReadFile(filepath.Join(folder, "tile", "entries", path))
		if err != nil {
			fail("%v", err)
		}
		for n := int64(0); n < width; n++ {
			if len(data) < 2 {
				fail("%s is cut", path)
			}
			length := int(data[0])<<8 | int(data[1])
			if len(data) < 2+length {
				fail("%s is cut", path)
			}
			all = append(all, data[2:2+length])
			data = data[2+length:]
		}
		if len(data) != 0 {
			fail("%s has more", path)
		}
	}
	return all
}

func main() {
	if len(os.Args) < 4 {
		fail("logs FOLDER ORIGIN VKEY…")
	}
	folder, origin := os.Args[1], os.Args[2]
	var known []note.Verifier
	for _, vkey := range os.Args[3:] {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			fail("%s: %v", vkey, err)
		}
		known = append(known, verifier)
	}
	verifiers := note.VerifierList(known...)
	newest := checkpoint(filepath.Join(folder, "checkpoint"), origin, verifiers)
	hashes := tlog.TileHashReader(newest, reader{folder})

	for index, entry := range leaves(folder, newest.N) {
		proof, err := tlog.ProveRecord(newest.N, int64(index), hashes)
		if err != nil {
			fail("leaf %d: %v", index, err)
		}
		if err := tlog.CheckRecord(proof, newest.N, newest.Hash, int64(index), tlog.RecordHash(entry)); err != nil {
			fail("leaf %d: %v", index, err)
		}
	}

	files, err := os.ReadDir(filepath.Join(folder, "checkpoints"))
	if err != nil {
		fail("%v", err)
	}
	var sizes []int64
	for _, file := range files {
		size, err := strconv.ParseInt(file.Name(), 10, 64)
		if err != nil {
			fail("%v", err)
		}
		sizes = append(sizes, size)
	}
	sort.Slice(sizes, func(i, j int) bool { return sizes[i] < sizes[j] })
	consistent := 0
	for _, size := range sizes {
		if size > newest.N {
			continue
		}
		old := checkpoint(filepath.Join(folder, "checkpoints", fmt.Sprint(size)), origin, verifiers)
		if old.N != size {
			fail("checkpoints/%d is of size %d", size, old.N)
		}
		proof, err := tlog.ProveTree(newest.N, size, hashes)
		if err != nil {
			fail("size %d: %v", size, err)
		}
		if err := tlog.CheckTree(proof, newest.N, newest.Hash, size, old.Hash); err != nil {
			fail("size %d: %v", size, err)
		}
		consistent++
	}
	// Cosignatures are of a type that these packages do not know: to them, signatures by others beside the log's.
	cosigned, _ := os.ReadDir(filepath.Join(folder, "cosigned"))
	for _, file := range cosigned {
		data, err := os.ReadFile(filepath.Join(folder, "cosigned", file.Name()))
		if err != nil {
			fail("%v", err)
		}
		opened, err := note.Open(data, verifiers)
		if err != nil {
			fail("cosigned/%s: %v", file.Name(), err)
		}
		if len(opened.Sigs) != 1 || len(opened.UnverifiedSigs) == 0 {
			fail("cosigned/%s: %d signatures, %d unverified", file.Name(), len(opened.Sigs), len(opened.UnverifiedSigs))
		}
	}
	fmt.Printf("%d leaves, %d checkpoints, %d cosigned\n", newest.N, consistent, len(cosigned))
}
