export const providers = {
  "try.prompt": "Say hello in one sentence.",
  "try.label": "Prompt for {model}",
  "try.ask": "Ask",
  "try.ask_model": "Ask {model}",
  "try.not_allowed": "Your role in this project does not permit tasks.",
  "try.waiting": "Waiting for the model …",
  "try.late": "No answer yet. The task goes on; open it to see its state.",
  "try.no_answer": "The model returned no answer.",
  "try.answered_by": "Answered by {model}",
  "try.open_task": "Open the task",
} as const;
