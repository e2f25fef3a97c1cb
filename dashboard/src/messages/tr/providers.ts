import type { Translation } from "../../i18n/types";
import type { providers as english } from "../en/providers";

export const providers: Translation<typeof english> = {
  "try.prompt": "Tek cümleyle merhaba de.",
  "try.label": "{model} için istem",
  "try.ask": "Sor",
  "try.ask_model": "{model} modeline sor",
  "try.not_allowed": "Bu projedeki rolünüz görev göndermeye izin vermiyor.",
  "try.waiting": "Model bekleniyor …",
  "try.late": "Henüz yanıt yok. Görev sürüyor; durumunu görmek için açın.",
  "try.no_answer": "Model yanıt döndürmedi.",
  "try.answered_by": "Yanıtlayan: {model}",
  "try.open_task": "Görevi aç",
};
