package graph_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
)

func noError(t interface {
	Helper()
	Fatalf(string, ...any)
}, err error, context string,
) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, context)
	}
}

func TestRandomModelsAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := graphtest.Model().Draw(t, "model")
		noError(t, graph.Verify(m), graph.Print(m))
	})
}

func TestParsePrint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := graphtest.Model().Draw(t, "model")
		src := graph.Print(m)
		back, err := graph.Parse(src)
		noError(t, err, src)
		noError(t, graph.Equal(back, m), src)
		if again := graph.Print(back); again != src {
			t.Fatalf("printed twice:\n%s\nand\n%s", src, again)
		}
	})
}

func TestParsePrintWithStore(t *testing.T) {
	m := graph.NewModel(17)
	m.Graph.AddInitializer("w", graph.TensorOf(make([]float32, 65), 65))
	m.Graph.AddInitializer("b", graph.TensorOf(make([]float32, 64), 64))
	var sb writer
	store := graph.Store{}
	noError(t, graph.Fprint(&sb, m, graph.PrintOptions{Store: store}), "")
	if len(store) != 1 {
		t.Fatalf("the store has %d tensors, want 1:\n%s", len(store), sb)
	}
	back, err := graph.ParseWith(string(sb), graph.ParseOptions{Store: store})
	noError(t, err, string(sb))
	noError(t, graph.Equal(back, m), string(sb))
	if _, err := graph.Parse(string(sb)); err == nil {
		t.Error("a text that refers to a store is parsed without one")
	}
}

type writer []byte

func (w *writer) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}

func TestClone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := graphtest.Model().Draw(t, "model")
		before := graph.Print(m)
		c := graph.Clone(m)
		noError(t, graph.Verify(c), before)
		noError(t, graph.Equal(c, m), before)
		for n := range c.Graph.All() { // what is done to the copy does not show in the original
			n.Name = "changed"
			n.SetAttr(graph.I("changed", 1))
		}
		c.Graph.AddInput("more", graph.Type{})
		if graph.Print(m) != before {
			t.Fatalf("a change of the copy changed the original:\n%s", before)
		}
	})
}

func TestShuffleAndSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := graphtest.Model().Draw(t, "model")
		graphtest.Shuffle(m.Graph, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		noError(t, graph.Verify(m), "after Shuffle")
		c := graph.Clone(m)
		noError(t, graph.Sort(c.Graph), "")
		noError(t, graph.Equal(c, m), "a legal order was changed by Sort")
		for _, n := range slices.Backward(slices.Collect(c.Graph.Nodes())) {
			n.MoveBefore(nil)
		}
		noError(t, graph.Sort(c.Graph), "")
		noError(t, graph.Verify(c), "after Sort")
	})
}
