// Package lower turns a model into a gorgonia.ExprGraph of our own operators.
//
// Each node of the model becomes one Gorgonia node whose [Op] holds the IR node; a node with several outputs gives a
// [Tuple], from which [Select] nodes take the single values. Initializers are inputs with a bound [Value] (Gorgonia
// merges constants whose text agrees, and inputs of equal name; value names are unique). Calls of model-local functions
// are inlined, except where the registry has a native kernel of that name. Nested graphs of If, Loop and Scan are
// lowered to graphs of their own, a [Body] each; the outer values that they use are further children of the node.
//
// The graph can be inspected and drawn with Gorgonia's encoders. With static shapes it runs on Gorgonia's TapeMachine,
// where each Op.Do allocates its result; package vm plans it and runs it without allocation. A dimension that is not
// known before the run is -1 in a node's shape, and a value of unknown rank has shape (-1).
package lower

// Gorgonia refuses to start on Go releases that this package does not know.
import _ "go4.org/unsafe/assume-no-moving-gc"
