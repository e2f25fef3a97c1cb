import type { Translation } from "../../i18n/types";
import type { review as english } from "../en/review";

export const review: Translation<typeof english> = {
  "review.title": "Örneklerin incelemesi",
  "review.partial": { one: "{rows} örnekten en yeni {count} örnek incelendi.", other: "{rows} örnekten en yeni {count} örnek incelendi." },
  "review.distinct": "Farklı örnekler",
  "review.repeated": "Yinelenen örnekler",
  "review.contradictions": "Çelişkili istemler",
  "review.too_long": "{tokens} tokenden uzun (tahmini)",
  "review.empty_answers": "Boş yanıtlar",
  "review.kinds": "Örnek türleri",
  "review.kinds_problem": "Yalnızca görev türüne göre: {reason}",
  "review.kinds_sampled": "{prompts} istemden rastgele seçilen {grouped} istemde bulundu.",
  "review.more_kinds": { one: "ve {count} küçük tür daha", other: "ve {count} küçük tür daha" },
  "review.no_type": "Görev türü yok",
  "review.others": "Birbirine benzemeyen diğer istemler",
  "review.kind_rows": { one: "{count} örnek, {training} tanesi eğitimde", other: "{count} örnek, {training} tanesi eğitimde" },
  "review.conflicts": "Çelişkiler",
  "review.conflicts_shown": { one: "{count} çift", other: "İlk {count} çift" },
  "review.first_sample": "İlk örnek",
  "review.second_sample": "İkinci örnek",
  "review.success": "Başarı olasılığı",
  "review.success_measured": {
    one: "{rows} eğitim örneğiyle, test kümesindeki {count} eğitimden {promoted} tanesi yayına alındı ({title}, ölçüm: {date}).",
    other: "{rows} eğitim örneğiyle, test kümesindeki {count} eğitimden {promoted} tanesi yayına alındı ({title}, ölçüm: {date}).",
  },
  "review.success_below": { one: "{count} farklı eğitim örneğinden azıyla ölçülmedi.", other: "{count} farklı eğitim örneğinden azıyla ölçülmedi." },
  "review.success_none": "Henüz ölçülmüş bir başarı oranı yok.",
  "review.base": "Temel modelin zaten bildikleri",
  "review.base_check": "Temel modele sor",
  "review.base_detail": "En çok 24 örnek sorulur; en çok 25 saniye sürer.",
  "review.base_result": { one: "{count} örneğin {right} tanesini zaten doğru yanıtlıyor.", other: "{count} örneğin {right} tanesini zaten doğru yanıtlıyor." },
  "review.base_incomplete": "{failed} çağrı başarısız oldu, {left} örneğe süre yetmedi.",
  "review.advice": "Eğitimden önce",

  "advice.add_samples": {
    one: "Yaklaşık {count} örnek daha düzeltin: eğitim için {need} gerekli, {have} var.",
    other: "Yaklaşık {count} örnek daha düzeltin: eğitim için {need} gerekli, {have} var.",
  },
  "advice.add_held_out": {
    one: "Yaklaşık {count} örnek daha düzeltin: ölçüme {have} örnek ayrıldı; {need} örnekten azında kararı kapı değil siz verirsiniz.",
    other: "Yaklaşık {count} örnek daha düzeltin: ölçüme {have} örnek ayrıldı; {need} örnekten azında kararı kapı değil siz verirsiniz.",
  },
  "advice.add_to_kind": {
    one: "“{kind}” türünden yaklaşık {count} örnek daha düzeltin: eğitimde {have} tane var, {need} gerekli.",
    other: "“{kind}” türünden yaklaşık {count} örnek daha düzeltin: eğitimde {have} tane var, {need} gerekli.",
  },
  "advice.resolve_contradictions": {
    one: "{count} çelişkiyi giderin: aynı isteme aynı yanıtı verin ya da bir örneği reddedin.",
    other: "{count} çelişkiyi giderin: aynı isteme aynı yanıtı verin ya da bir örneği reddedin.",
  },
  "advice.replace_repeated": {
    one: "Yeni bir şey öğretmeyen {count} yinelenen örneğin yerine başka istemleri düzeltin.",
    other: "Yeni bir şey öğretmeyen {count} yinelenen örneğin yerine başka istemleri düzeltin.",
  },
  "advice.shorten": {
    one: "{count} örneği en çok {need} tokene kısaltın: eğitim daha uzunlarını almaz.",
    other: "{count} örneği en çok {need} tokene kısaltın: eğitim daha uzunlarını almaz.",
  },
  "advice.fill_answers": {
    one: "Yanıtı boş olan {count} örneği düzeltin ya da reddedin.",
    other: "Yanıtı boş olan {count} örneği düzeltin ya da reddedin.",
  },
  "advice.teach_other": {
    one: "Temel modelin yanlış yanıtladıklarını düzeltin: {need} örneğin {have} tanesini zaten biliyor.",
    other: "Temel modelin yanlış yanıtladıklarını düzeltin: {need} örneğin {have} tanesini zaten biliyor.",
  },
};
