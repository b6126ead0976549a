//! What a family makes of its config: graphs over one set of weights.

use webnibble_common::package::SentenceConfig;
use webnibble_common::program::{ENCODE, Program};

use crate::config::ModelConfig;

impl ModelConfig {
    /// The program: for encoders the one graph [`ENCODE`], that of [`ModelConfig::graph`], and no states; for decoders also
    /// [`DECODE`](webnibble_common::program::DECODE), which continues a conversation.
    pub fn program(&self, sentence: Option<&SentenceConfig>) -> Program {
        self.program_over(sentence, &|_| false)
    }

    /// The same over a checkpoint or a package, as [`ModelConfig::graph_over`].
    pub fn program_over(&self, sentence: Option<&SentenceConfig>, has: &dyn Fn(&str) -> bool) -> Program {
        match self {
            ModelConfig::Bert(_) | ModelConfig::Vit(_) => Program::of(ENCODE, self.graph_over(sentence, has)),
            ModelConfig::Llama(config) => config.program(sentence),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ModelConfig;
    use webnibble_common::program::ENCODE;

    #[test]
    fn an_encoder_is_one_graph_without_states() {
        let config = ModelConfig::from_json(&serde_json::json!({ "model_type": "bert" })).unwrap();
        let program = config.program(None);
        program.validate().unwrap();
        let names: Vec<_> = program.graphs().map(|(name, _)| name.to_owned()).collect();
        assert_eq!((names, program.states().len()), (vec![ENCODE.to_owned()], 0));
        assert_eq!(program.named(ENCODE).unwrap(), &config.graph(None));
        assert_eq!(program.weights(), program.named(ENCODE).unwrap().weights);
    }
}
