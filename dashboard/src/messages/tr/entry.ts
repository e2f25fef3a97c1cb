import type { Translation } from "../../i18n/types";
import type { entry as english } from "../en/entry";

export const entry: Translation<typeof english> = {
  "entry.sign_in": "Oturum aç",
  "entry.email": "E-posta",
  "entry.password": "Parola",
  "entry.new_password": "Yeni parola",
  "entry.password_hint": "En az 10 karakter ve tahmin edilmesi zor.",
  "entry.password_short": "En az 10 karakter kullanın.",
  "entry.forgotten": "Parolanızı mı unuttunuz? Bu Kairos'un sistem yöneticisinden sıfırlama bağlantısı isteyin. Kairos'un makinesinde: kairos user reset-password E-POSTA",
  "entry.setup": "Kairos kurulumu",
  "entry.setup_detail": "İlk sistem yöneticisinin parolasını seçin. Bağlantı bir kez çalışır.",
  "entry.set_password": "Parolayı belirle",
  "entry.reset": "Yeni bir parola seçin",
  "entry.reset_detail": "Bu hesabın diğer tüm oturumları kapanır. Bağlantı bir kez çalışır.",
  "entry.no_token": "Bu bağlantı eksik",
  "entry.no_token_detail": "# işaretinden sonraki son bölümü yok. Bağlantıyı size verildiği gibi yeniden açın.",
  "entry.join": "{project} projesine katıl",
  "entry.join_detail": "{by} sizi {role} olarak davet ediyor.",
  "entry.join_expires": "Davet {when} tarihine kadar açık.",
  "entry.join_as": "{email} olarak oturum açtınız.",
  "entry.accept": "Projeye katıl",
  "entry.register": "Hesap oluştur ve katıl",
  "entry.have_account": "Hesabım var",
  "entry.your_name": "Adınız",
};
