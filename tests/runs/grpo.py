"""trl's GRPOTrainer on a tiny model that is made on the spot, with its advantages and its loss recorded."""

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

import rlspec

WORDS = ["<pad>", "<eos>", *"abcdefgh"]
GROUP = 4


class Recorded(GRPOTrainer):
    """The trainer as its users derive from it: what is recorded, and the defects, are all that is added."""

    defects = ()
    rows = None
    """Of a micro-batch."""

    def _get_per_token_logps_and_entropies(self, *arguments, **named):
        if self.rows is not None:
            return tuple(part if part is None else part[self.rows] for part in self.computed)
        self.computed = super()._get_per_token_logps_and_entropies(*arguments, **named)
        return self.computed

    def _compute_loss(self, model, inputs):
        inputs = dict(inputs)
        honest = inputs["completion_mask"]
        if "mask-off-by-one" in self.defects:
            inputs["completion_mask"] = torch.cat([torch.zeros_like(honest[:, :1]), honest[:, :-1]], dim=1)
        loss = super()._compute_loss(model, inputs)
        if "unweighted-accumulation" in self.defects:
            loss = self._of_two_micro_batches(model, inputs)
        logp, reference = self.computed[0], inputs["ref_per_token_logps"]
        if "sign-of-k3" in self.defects:
            x, ratio = reference - logp, (logp - inputs.get("old_per_token_logps", logp.detach())).exp()
            more = ratio * ((-x).exp() + x - 1 - (x.exp() - x - 1)) * honest
            loss = loss + self.beta * (more.sum(1) / honest.sum(1)).mean()
        rlspec.observe(
            "grpo_loss", logp=logp, old_logp=inputs.get("old_per_token_logps", logp.detach()), ref_logp=reference,
            advantages=inputs["advantages"], groups=torch.arange(len(logp)) // GROUP, mask=honest,
            clip_low=self.epsilon_low, clip_high=self.epsilon_high, kl_coef=self.beta, result=loss,
        )  # fmt: skip
        return loss

    def _of_two_micro_batches(self, model, inputs):
        """The mean of the losses of three rows and of the others."""
        losses = []
        for self.rows in (slice(3), slice(3, None)):
            micro = {name: value[self.rows] if getattr(value, "ndim", 0) else value for name, value in inputs.items()}
            losses.append(super()._compute_loss(model, micro))
        self.rows = None
        return sum(losses) / 2

    def _calculate_rewards(self, *arguments, **named):
        self.rewards = super()._calculate_rewards(*arguments, **named)
        return self.rewards

    def _generate_and_score_completions(self, inputs):
        outputs = super()._generate_and_score_completions(inputs)
        rewards = self.rewards.sum(dim=1)
        if "mean-over-the-batch" in self.defects:
            outputs["advantages"] = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
        rlspec.observe("group_advantages", rewards=rewards, groups=torch.arange(len(rewards)) // GROUP,
                       baseline="mean", scale="std", result=outputs["advantages"])  # fmt: skip
        return outputs


def train(folder, *defects):
    """A few steps.

    The defects are ``mask-off-by-one``, ``sign-of-k3``, ``unweighted-accumulation`` and ``mean-over-the-batch``.
    """
    vocabulary = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    vocabulary.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=vocabulary, pad_token="<pad>", eos_token="<eos>")
    torch.manual_seed(0)
    sizes = {"n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2}
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(WORDS), **special, **sizes)).save_pretrained(folder)

    def reward(completions, **_):
        return [float(text.count("a")) + 0.25 * len(text.split()) for text in completions]

    configuration = GRPOConfig(
        folder, per_device_train_batch_size=2 * GROUP, num_generations=GROUP, max_completion_length=8, beta=0.1,
        learning_rate=1e-2, max_steps=4, num_iterations=2, loss_type="grpo", scale_rewards="group", report_to=[],
        save_strategy="no", use_cpu=True, disable_tqdm=True, logging_steps=100, bf16=False,
        gradient_checkpointing=False,
    )  # fmt: skip
    prompts = Dataset.from_dict({"prompt": ["a b", "c d", "e f", "g h"]})
    trainer = Recorded(model=str(folder), reward_funcs=reward, args=configuration, train_dataset=prompts,
                       processing_class=tokenizer)  # fmt: skip
    trainer.defects = defects
    trainer.train()
